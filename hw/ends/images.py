"""Images on their way into bank B: two at most, one being embedded while the other one is computed."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from haarlequin.hw.common.flow_control import counter, skid_buffer
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.ends.embedding import Embedding
from haarlequin.hw.settings import settings_layout


class Images(wiring.Component):
    """Queues images, embeds them, and writes x into the region of bank B that the lanes do not use.

    The tables are the `Embedding`'s. The host writes an image's bytes into half ``half`` of ``pixels``, from
    address half · `AcceleratorConfig.pixels` / 2 on, then strobes ``commit``; both only while ``room`` is
    high, that is while less than two images are being embedded or wait for it. ``settings`` hold still from
    a model's first ``commit`` to its last ``done``. While ``again`` is high, a ``commit`` means the image of
    the last ``commit`` before it, whose bytes are still there; ``again`` changes only while no image is here.

    ``waiting`` says that the oldest image's x is complete; ``begin`` takes it into the program, whose
    ``region`` of bank B it is from the cycle after on, and ``done``, in the program's last cycle, frees that.
    ``begin`` must come in the first cycle with ``waiting`` high in which no program goes on, be it beside the
    ``done`` of the one before: ``clipped`` are then the saturations of the image that it takes. Later the
    next one's would be.

    A word of x is to be written to ``address`` in a cycle with ``valid`` and ``ready`` high; until then it
    stays. The address's highest bit is the region, the others tile·N + m for `lanes` channels of token m;
    lanes beyond a token's last channel hold anything. Where every word is written at once, an image that
    finds nothing before it takes `Embedding.cycles` and `LATENCY` more from ``commit`` to ``waiting``.
    ``busy`` while an image is being embedded. None begins to be while ``hold`` is high.
    """

    LATENCY = 4
    """Cycles from ``commit`` to ``waiting`` beyond the embedding's."""

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        largest = config.max_tokens, config.max_channels, config.max_patch_length
        words = config.pixels, config.values, config.position_words
        self._embedding = Embedding(config.macs, config.widths, *largest, *words)
        tables = ("pixels", "weights", "constants", "positions")
        members = self._embedding.signature.members
        word = data.ArrayLayout(signed(config.widths.wide), config.lanes)
        super().__init__(
            {name: members[name] for name in tables}
            | {
                "settings": In(settings_layout(config)),
                "half": Out(1),
                "room": Out(1),
                "commit": In(1),
                "again": In(1),
                "hold": In(1),
                "waiting": Out(1),
                "begin": In(1),
                "done": In(1),
                "region": Out(1),
                "address": Out(ceil_log2(config.bank_b)),
                "word": Out(word),
                "valid": Out(1),
                "ready": In(1),
                "clipped": Out(members["clipped"].shape),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.embedding = embedding = self._embedding
        for name in ("pixels", "weights", "constants", "positions"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(embedding, name))
        settings = self.settings
        names = "rows", "columns", "patch", "patch_bytes", "pixel_bytes", "line_bytes", "step_bytes", "dim"
        for name in (*names, "step_lines", "padding", "padding_end"):
            m.d.comb += getattr(embedding, name).eq(getattr(settings, name))
        m.d.comb += [
            embedding.positioned.eq(settings.positions),
            embedding.acc_shift.eq(settings.embedding_acc_shift),
            embedding.shift.eq(settings.embedding_shift),
        ]

        committed, held, complete = Signal(range(3)), Signal(range(3)), Signal(range(3))
        embedded_half, embedded_region = Signal(), Signal()  # where the next embedding reads and writes
        done = Signal()  # its last word is written
        m.d.comb += [
            self.room.eq(committed != 2),
            self.waiting.eq(complete != 0),
            embedding.start.eq((committed != 0) & (held != 2) & ~self.busy & ~self.hold),
            # The halves of the next image to be embedded and to be written are the same while none is here.
            embedding.image.eq(Mux(embedded_half ^ self.again, self.config.pixels // 2, 0)),
        ]
        m.d.sync += [
            committed.eq(committed + self.commit - done),
            held.eq(held + embedding.start - self.done),
            complete.eq(complete + done - self.begin),
            self.half.eq(self.half ^ (self.commit & ~self.again)),
            embedded_half.eq(embedded_half ^ (done & ~self.again)),
            embedded_region.eq(embedded_region ^ done),
            self.busy.eq(Mux(self.busy, ~done, embedding.start)),
        ]
        following = Signal()
        with m.If(self.begin):
            m.d.sync += [self.region.eq(following), following.eq(~following)]
        m.d.comb += self.clipped.eq(embedding.clipped)
        m.d.comb += done.eq(self._collect(m, embedding, embedded_region))
        return m

    def _collect(self, m: Module, embedding: Embedding, region: Signal):
        """Words of `lanes` channels from single values; whether the image's last word is being written."""
        lane = Signal(range(self.config.lanes))
        start = Signal(range(self.config.bank_b // 2))  # the token's word in the tile
        tile = Signal.like(start)
        values, settings = skid_buffer(m, embedding.values), self.settings
        taken = values.valid & values.ready
        _, ends_token = counter(m, settings.dim, taken)
        token, ends_image = counter(m, settings.tokens, taken, inner=ends_token)
        here = Mux(self.valid, tile, start)
        ends_word = (lane == self.config.lanes - 1) | ends_token
        m.d.comb += [
            values.ready.eq(~self.valid | self.ready),
            self.address.eq(start + (region << (len(self.address) - 1))),
        ]
        done, last = Signal(), Signal()
        m.d.comb += done.eq(self.valid & self.ready & last)
        with m.If(self.valid & self.ready):
            m.d.sync += [self.valid.eq(0), start.eq(tile)]
        with m.If(taken):
            m.d.sync += self.word.as_value().word_select(lane, self.config.widths.wide).eq(values.p)
            m.d.sync += lane.eq(Mux(ends_word, 0, lane + 1))
            with m.If(ends_word):
                m.d.sync += [self.valid.eq(1), last.eq(ends_image)]
                m.d.sync += tile.eq(Mux(ends_token, Mux(ends_image, 0, token + 1), here + settings.tokens))
        return done
