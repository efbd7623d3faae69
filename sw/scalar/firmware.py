"""Write the scalar core's firmware for a golden model: code, data, and when each tensor is complete.

All code has the same form: loops over layers, tokens and channels. One pointer S walks along the constants in
the order in which they are used, and goes back for each token.
"""

from dataclasses import dataclass

from haarlequin.hw.config import ScalarConfig
from haarlequin.hw.scalar.isa import REGISTERS, WORD, Alu, Control
from haarlequin.models.config import ModelConfig
from haarlequin.models.golden import GoldenModel
from haarlequin.models.stages import ATTENTION, MLP
from haarlequin.sw.compiler.resources import DoesNotFit, check_operations
from haarlequin.sw.scalar.assembler import SIGNS, At
from haarlequin.sw.scalar.attention import AttentionCode
from haarlequin.sw.scalar.idioms import FEATURE, WIDE
from haarlequin.sw.scalar.layout import Buffer, Full

LD, ADD, SUB, MIN, MUL, MAC, LDT, BIT, LDP, MULP = Alu
ST, STB, STR, STBR, DOT, DOTA, ASR, ASRR, SAT, JMP, DJNZ, OUT, HALT, LDX = Control


@dataclass(frozen=True)
class Firmware:
    """A model compiled for the scalar machine."""

    model: GoldenModel
    code: list[int]
    data: list[int]
    """Words from address 0 on, unsigned. The image takes the place of the first of them."""
    milestone_address: int
    """The code stores a number at this address when tensors are complete."""
    milestones: list[list[Buffer]]
    """The tensors that are complete then, for each number."""


def check_shape(model: GoldenModel, machine: ScalarConfig) -> None:
    """Raise `DoesNotFit` for a model with operations or sizes that the firmware's loops do not support."""
    check_operations(model.config)
    config, stage = model.config, model.config.stages[0]
    kinds = stage.kind, stage.feed_forward, bool(stage.window), bool(config.stem.patch), config.segmentation
    if len(config.stages) > 1 or kinds != (ATTENTION, MLP, False, True, False):
        raise DoesNotFit(
            f"{config.name} ({config.structure}): {machine.name} only has transformer layers, on patches and "
            "without windows, and one label for an image"
        )
    hidden = config.dim * config.mlp_ratio
    if config.widths != machine.widths:
        raise DoesNotFit(f"{config.name}: its widths differ from those of {machine.name}")
    most = {
        "tokens": (config.tokens, WORD),
        "channels of the MLP": (hidden, WORD * (REGISTERS - SIGNS)),
        "values of a wide tensor": (config.dim * config.tokens, 2048),
        "values of a patch": (config.patch_length, 48),
        "bytes of an image": (_bytes(config), machine.pixels // 2),
    }
    wrong = [f"{name} {has}, {limit} at most" for name, (has, limit) in most.items() if has > limit]
    parts = {"channels": config.dim, "channels of a head": config.head_dim}
    wrong += [f"{name} {has}, no multiple of {WORD}" for name, has in parts.items() if has % WORD]
    if wrong:
        raise DoesNotFit(f"{config.name} does not fit {machine.name}: {'; '.join(wrong)}")


def _bytes(config: ModelConfig) -> int:
    return config.image[0] * config.image[1] * config.channels


def firmware(model: GoldenModel, machine: ScalarConfig) -> Firmware:
    """Write the firmware; raises `DoesNotFit` where a model is too large or of other sizes."""
    check_shape(model, machine)
    try:
        return _Builder(model, machine).build()
    except Full:
        name = model.config.name
        raise DoesNotFit(
            f"{name} does not fit {machine.name}: more than {machine.data - 1:,} words of data"
        ) from None


class _Builder(AttentionCode):
    def build(self) -> Firmware:
        a = self.a
        a.pair("one")
        for name, value in (
            ("one", 1),
            ("one'", -1),
            ("S", self.stream),
            ("T", self.tokens),
            ("milestone", self.milestone_address),
        ):
            a.set(name, value)
        self._embed()
        with a.loop("layer", self.config.layers):
            self._layer()
        self._head()
        a(HALT)
        return Firmware(
            self.model,
            [one.encode() for one in a.code],
            self.data.words,
            self.milestone_address,
            self.milestones,
        )

    def _embed(self) -> None:
        a, config = self.a, self.config
        shift = int(self.c["embedding.shift"])
        run = config.patch * config.channels  # bytes of one row of a patch
        line = config.image[1] * config.channels
        with a.scope():
            for name, address in (("at", self.corners), ("position", self.positions), ("Y", self.x)):
                a.set(name, address)
            with self._tokens(offsets=False):
                a.set("pixel", At("at", 1))
                with a.loop("channel", self.dim):
                    self._split_constant()
                    for tap in range(config.patch_length):
                        row_ends, ends = (tap + 1) % run == 0, tap == config.patch_length - 1
                        step = 1 + (line - run) * row_ends
                        a(LDT, At("S", 1))
                        a(MAC, At("pixel", -line * (config.patch - 1) - run + 1 if ends else step))
                    if config.embedding_acc_shift:
                        a(ASR, 0, config.embedding_acc_shift)
                    a(MUL, At("S", 1))
                    a(ASRR, 0, shift)
                    a(ADD, At("S", 1))
                    a(SAT, 0, WIDE)
                    a(ADD, At("position", 1))
                    a(SAT, 0, WIDE)
                    a(ST, At("Y", 1))
        self._milestone(self._wide("embedding.x", self.x))

    def _layer(self) -> None:
        a = self.a
        with a.scope():
            for band in range(len(self.config.bands)):
                a.set(f"weight {band}", At("S", 1))
            if self.config.hfsc:
                with a.scope():
                    self._haar()
            with a.scope():
                self._queries_and_keys()
            with a.scope():
                self._value()
            with a.scope():
                self._attention()
        with a.scope():
            self._output()
        with a.scope():
            self._expand()
        with a.scope():
            self._mean()
        with a.scope():
            self._reduce()

    def _output(self) -> None:
        a = self.a
        for name, address in {"X": self.context, "residual": self.x, "R": self.x}.items():
            a.set(name, address)
        with self._tokens():
            a.set("Y", "X")
            self._signs(self.words)
            with a.loop("channel", self.dim):
                self._dot(self.words)
                self._irprelu(At("Y", 1), At("residual", 1))
                a(ST, At("R", 1))
        self._milestone(self._wide("layers.{layer}.output", self.x))

    def _expand(self) -> None:
        a, repeats = self.a, self.config.mlp_ratio
        a.set("X", self.x)
        a.set("U", self.hidden)
        with self._tokens():
            a.set("own", "X")
            self._signs(self.words)
            with a.loop("repeat", repeats):
                a.set("Y", "own")
                with a.loop("channel", self.dim):
                    self._dot(self.words)
                    self._irprelu(At("Y", 1))
                    a(ST, At("U", 1))
        self._milestone(self._wide("layers.{layer}.expand", self.hidden, repeats))

    def _mean(self) -> None:
        a, repeats = self.a, self.config.mlp_ratio
        a.set("U", self.hidden)
        a.set("M", self.mean)
        back = (repeats - 1) * self.dim
        with a.loop("token", self.n):
            with a.loop("channel", self.dim):
                for repeat in range(repeats):
                    last = repeat == repeats - 1
                    a(LD, At("U", 1 - back if last else self.dim))
                    if repeats > 1:
                        a(ASR, 0, repeats.bit_length() - 1)
                    if repeat:
                        a(ADD, "sum")
                    if not last:
                        a(STR, "sum")
                a(ST, At("M", 1))
            a.move_on("U", back)
        self._milestone(self._wide("layers.{layer}.mean", self.mean))

    def _reduce(self) -> None:
        a, words = self.a, self.words * self.config.mlp_ratio
        for name, address in {"X": self.hidden, "Y": self.mean, "residual": self.x, "R": self.x}.items():
            a.set(name, address)
        with self._tokens():
            self._signs(words)
            with a.loop("channel", self.dim):
                self._dot(words)
                self._irprelu(At("Y", 1), At("residual", 1))
                a(ST, At("R", 1))
        self._milestone(self._wide("layers.{layer}.reduce", self.x))

    def _head(self) -> None:
        a, size = self.a, self.n * self.dim
        with a.scope():
            a.set("X", self.x + size - 1)
            a.set("feature", self.features)
            with a.loop("channel", self.dim):
                a.move_on("X", 1 - size)
                with a.loop("token", self.n, start=0):
                    a(ADD, At("X", self.dim))
                a(MUL, At("S", 1))
                a(ASRR, 0, int(self.c["head.shift"]))
                a(ADD, At("S", 1))
                a(SAT, 0, FEATURE)
                a(ST, At("feature", 1))
            with a.loop("class", len(self.config.classes)):
                a.set("feature", self.features)
                a.set("channel", self.dim)
                self._split_constant()
                here = len(a.code)
                a(LDT, At("S", 1))
                a(MAC, At("feature", 1))
                a(DJNZ, "channel", here)
                a(OUT)
