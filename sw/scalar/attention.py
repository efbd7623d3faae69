"""The firmware of a layer from Haar to context; for an array `sw/compiler/attention.py` does the same."""

from haarlequin.hw.scalar.isa import WORD, Alu, Control
from haarlequin.models.golden import exp_table
from haarlequin.sw.scalar.assembler import SIGNS, At
from haarlequin.sw.scalar.idioms import WIDE, Idioms
from haarlequin.sw.scalar.layout import Buffer

LD, ADD, SUB, MIN, MUL, MAC, LDT, BIT, LDP, MULP = Alu
ST, STB, STR, STBR, DOT, DOTA, ASR, ASRR, SAT, JMP, DJNZ, OUT, HALT, LDX = Control


class AttentionCode(Idioms):
    """Writes the code of a layer's attention, except the output projection."""

    def _haar(self) -> None:
        a, low, high = self.a, self.parts, self.parts + self.n * self.dim
        pointers = {"X": self.x, "at": self.neighbours, "low": low, "high": high}
        for name, address in pointers.items():
            a.set(name, address)
        with a.loop("token", self.n):
            for name in ("right", "below", "across"):
                a.set(name, At("at", 1))
            with a.loop("channel", self.dim):
                a(LD, At("X"))
                for name in ("right", "below", "across"):
                    a(ADD, At(name, 1))
                a(ASR, 0, 2)
                a(ST, At("low", 1))
                a(STR, "mean")
                a(LD, At("X", 1))
                a(SUB, "mean")
                a(SAT, 0, WIDE)
                a(ST, At("high", 1))
        self._milestone(self._wide("layers.{layer}.x_lo", low), self._wide("layers.{layer}.x_hi", high))

    def _queries_and_keys(self) -> None:
        a, bands = self.a, self.config.bands
        a.set("part", self.parts)
        a.set("Q", self.bits)
        with a.loop("band", len(bands)):
            with a.loop("role", 2):
                a.set("X", "part")
                with self._tokens(offsets=False):
                    a.set("Y", "X")
                    self._signs(self.words)
                    with a.loop("word", self.words):
                        with a.loop("bit", WORD):
                            self._dot(self.words)
                            self._affine_code()
                            a(ADD, At("Y", 1))
                            a(BIT, 0)
                        a(STB, At("Q", 1))
            a.set("part", "X")
        size = self.n * self.words
        self._milestone(
            *(
                Buffer(
                    f"layers.{{layer}}.{role}.{band}",
                    self.bits + (2 * i + j) * size,
                    (self.n, self.words),
                    "signs",
                )
                for i, band in enumerate(bands)
                for j, role in enumerate(("query", "key"))
            )
        )

    def _value(self) -> None:
        """V', and V in two forms: as numbers in planes, and as bits, with one word of tokens per channel."""
        a, (rows, columns) = self.a, self.config.grid
        for name, address in {"X": self.x, "V": self.value, "at": self.insides}.items():
            a.set(name, address)
        with self._tokens():
            a.set("plane", At("at", 1))
            a.set("Y", "X")
            self._signs(self.words)
            with a.loop("channel", self.dim):
                self._dot(self.words)
                self._irprelu(At("Y", 1))
                a(ST, At("V", 1))
                a(ADD, At("S", 1))
                a(LDP, "one")
                a(ST, At("plane", self.plane))
        a.set("plane", self.planes + self.middle)
        a.set("column", self.columns)
        with a.loop("channel", self.dim):
            with a.loop("row", rows):
                with a.loop("token", columns):
                    a(LD, At("plane", 1))
                    a(BIT, 0)
                a.move_on("plane", 2 * self.reach)
            a.move_on("plane", 2 * self.reach * self.plane_columns)
            self._fill_up()
            a(STB, At("column", 1))
        shape = self.dim, self.plane // self.plane_columns, self.plane_columns
        planes = Buffer("layers.{layer}.v", self.planes, shape, "planes")
        self._milestone(self._wide("layers.{layer}.value", self.value), planes)

    def _fill_up(self) -> None:
        """Shift in zeros for the bits of a word that are beyond the last token."""
        if self.n < WORD:
            with self.a.loop("bit", WORD - self.n, start=-1):
                self.a(BIT, 0)

    def _attention(self) -> None:
        a, config = self.a, self.config
        own = config.head_dim // WORD  # words of a head
        walks = {
            "head's queries": (self.bits, own),
            "head's planes": (self.planes, config.head_dim * self.plane),
            "head's columns": (self.columns, config.head_dim),
            "head's V": (self.value, config.head_dim),
            "head's context": (self.context, config.head_dim),
        }
        for name, (address, _) in walks.items():
            a.set(name, address)
        a.set("row", self.rows)
        a.pair("own term")
        a.set("own term'", -1)
        with a.loop("head", config.heads):
            a.set("threshold", At("S", 1))
            a.set("rest", At("S", 1))
            a.set("window", self.windows)
            for name, head in {"query": "queries", "V": "V", "C": "context"}.items():
                a.set(name, f"head's {head}")
            with self._tokens():
                self._row(own)
                self._context()
            for name, (_, step) in walks.items():
                a(LD, name)
                a(ADD, step)
                a(STR, name)
        rows = Buffer("layers.{layer}.attention", self.rows, (config.heads, self.n, 1), "bits")
        self._milestone(rows, self._wide("layers.{layer}.context", self.context))

    def _row(self, own: int) -> None:
        """Make one row of Â of one head; it goes into a word and into the first register of signs."""
        a, config = self.a, self.config
        band = 2 * self.n * self.words  # words of a band's queries and keys
        a.set("at", "query")
        for i in range(len(config.bands)):
            for word in range(own):
                a(LD, At("at", 1 if word < own - 1 else band - own + 1))
                a(STR, SIGNS + i * own + word)
        a.move_on("query", self.words)
        # The keys of a head lie in the same place as its queries, but after all queries.
        a(LD, "head's queries")
        for i in range(len(config.bands)):
            a(ADD, band if i else self.n * self.words)
            a(STR, f"keys {i}")
        a.set("smallest", (1 << WORD - 1) - 1)
        a.set("score", self.scores)
        with a.loop("key", self.n):
            # This is the negative score, so the smallest value belongs to the largest score.
            for i in range(len(config.bands)):
                a(LD, -config.head_dim)
                a.dot(DOT, f"keys {i}", own, i * own)
                a(MUL, f"weight {i}")
                if i:
                    a(ADD, "sum")
                if i < len(config.bands) - 1:
                    a(STR, "sum")
            a(ST, At("score", 1))
            a(MIN, "smallest")
            a(STR, "smallest")
            for i in range(len(config.bands)):
                a.move_on(f"keys {i}", self.words - own)
        a.set("score", self.scores)
        a.set("entry", self.entries)
        a.set("exp", self.exp)
        a.set("sum", 0)
        with a.loop("key", self.n):
            a(LD, At("score", 1))
            a(SUB, "smallest")
            if config.score_shift:
                a(ASR, 0, config.score_shift)
            a(MIN, len(exp_table(config.widths)) - 1)
            a(LDX, "exp")
            a(ST, At("entry", 1))
            a(ADD, "sum")
            a(STR, "sum")
        # The smallest entry that is enough, negated, is ⌊−τ·Σ / 2^16⌋. τ is unsigned and comes in two parts.
        a(LDT, "sum")
        a(LD, 0)
        for part in ("threshold", "threshold", "rest"):
            a(MAC, part)
        a(ASR, 0, config.widths.threshold)
        a(STR, "sum")
        a.set("entry", self.entries)
        with a.loop("key", self.n):
            a(LD, At("entry", 1))
            a(BIT, "sum")
        self._fill_up()
        a(STBR, SIGNS)
        a(STB, At("row", 1))

    def _context(self) -> None:
        """Make the context of one token and head from its row of Â."""
        a, config = self.a, self.config
        a.set("at", self.ones)
        a(LD, 0)
        a.dot(DOTA, "at", 1)  # 2·k
        if config.diba:
            # Σ Â V = 2·n − k. With (1 − k)·V_i added that is 2·n plus one of two terms, which V_i selects.
            a(MUL, -1)
            a(ADD, 1)
            a(STR, "own term")
            a(LD, At("window", 1))
            a(ADD, "head's planes")
            a(STR, "tap")
            a(ADD, self.middle)
            a(STR, "own")
        else:
            a(ASR, 0, 1)
            a(STR, "own term")
        a.set("column", "head's columns")
        with a.loop("channel", config.head_dim):
            if config.diba:
                a(LD, 0)
                self._convolution()
                a(STR, "sum")
                a(LD, At("own", self.plane))
                a(LDP, "own term")
                a(ADD, "sum")
            else:
                a(LD, 0)
                a(SUB, "own term")
            a.dot(DOTA, "column", 1)
            self._irprelu(At("V", 1))
            a(ST, At("C", 1))
        for name in ("V", "C"):
            a.move_on(name, self.dim - config.head_dim)

    def _convolution(self) -> None:
        a, theta = self.a, self.config.theta
        for row in range(theta):
            for column in range(theta):
                step = 1 if column < theta - 1 else self.plane_columns - theta + 1
                if row == column == theta - 1:
                    step = self.plane - (theta - 1) * (self.plane_columns + 1)
                a(LDT, At("S", 1))
                a(MAC, At("tap", step))
        a(MUL, At("S", 1))
