"""Tokens on their way through the stages of the pipeline, and the fields of their passes."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data
from amaranth.lib.memory import Memory

from haarlequin.hw.common.pipeline import registered, streamed
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.lanes.sequencer import Sequencer
from haarlequin.hw.program import CONTEXTS, pass_layout


class TokenPipe:
    """The tokens of a sequencer in the module ``m``: ``pipe[stage]`` is the one that was issued so many
    cycles ago, up to the stage ``last``.

    Fields of a pass that are not used at once wait in small memories, an entry for each pass in flight, whose
    number the tokens carry.
    """

    def __init__(self, m: Module, config: AcceleratorConfig, sequencer: Sequencer, last: int):
        self._m, self._sequencer, self._pass = m, sequencer, pass_layout(config)
        self._tokens = [sequencer.token]
        for _ in range(last):
            self._tokens.append(registered(m, self._tokens[-1]))
        self._memories = 0

    def __getitem__(self, stage: int) -> data.View:
        return self._tokens[stage]

    def fields(self, stage: int, *names: str) -> data.View:
        """Fields of the pass whose token is at ``stage``, 2 or later; ``index`` is the number of the pass.

        They come out of registers: a look-up and then wires to all lanes would be the longest path.
        """
        m, sequencer = self._m, self._sequencer
        sources = {name: sequencer.index if name == "index" else sequencer.current[name] for name in names}
        shapes = {
            name: sequencer.index.shape() if name == "index" else self._pass[name].shape for name in names
        }
        layout = data.StructLayout(shapes)
        if not layout.size:  # the number of a word's only chunk
            return Signal(layout)
        memory = Memory(shape=layout, depth=CONTEXTS, init=[])
        m.submodules[f"late_{self._memories}"] = memory
        self._memories += 1
        write, read = memory.write_port(), memory.read_port(domain="comb")
        m.d.comb += [
            write.addr.eq(sequencer.token.context),
            write.en.eq(sequencer.fresh),
            read.addr.eq(self[stage - 1].context),
            *(write.data[name].eq(source) for name, source in sources.items()),
        ]
        return streamed(m, read.data)
