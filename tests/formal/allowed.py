"""The assignments of the RTL that may cut off what they compute."""

MODULO = {
    "FrameReceiver.silence": "it is looked at within a frame only, where it ends the frame at its limit",
    "FrameSender.count": "it runs on within a payload, where it is not looked at",
    "Repeat.elapsed": "it wraps around, as documented",
    "Repeat.total": "it wraps around, as documented",
    "Repeat.missing": "the machine gives one result for each image that it was handed; with the last it ends",
    "Words.address": "a word outside of the memory was noticed before",
    "SyncFIFO.produce": "a place in a ring of a power of two",
    "SyncFIFO.consume": "a place in a ring of a power of two",
    "Machine.cycles": "an image takes less than 2^32 cycles; between images it is not looked at",
    "Machine.own_clipped": "an image has less than 2^31 saturations: `Images.clipped`, `Layers.clipped`",
    "Machine.number": "it ends at `result_words` − 3, of the same width; the compiler sets that (tables)",
    "Machine.flying": "`Link.IN_FLIGHT` images at most, whose numbers the link keeps: 4 of 15",
    "Machine.saturations": "the same saturations, and those of the head's features",
    "Layers.clipped": "four saturations per lane and cycle at most, in less than 2^20 cycles of an image",
    "Layers.chunk": "a tile's chunk and the places that its tokens move by are in one word, or half (lower)",
    "Layers.own": "the address of a word, modulo its sign memory",
    "Layers.following": "the same, of the next token",
    "Layers.preceding": "the same, of the token before",
    "Layers.stored": "a mean of values that fit; the compiler runs every tensor (check.Checker)",
    "BinaryLane.ones": "so many ones are among the values, if no load comes between them (schedule)",
    "LaneArray.others": "the signs of a sum fit `Widths.wide` (resources.check_shapes)",
    "LaneArray.acc": "the signs of a sum fit `Widths.wide` (resources.check_shapes)",
    "LocalConvolution.sum": "the sum of θ² signs in its width, shifted by at most the largest shift",
    "Loader.constants": "the shift of a load is in its window: `Widths` and the compiler's tables",
    "EchoBuffer.count": "a frame with so many bytes is too long to be intact",
    "Inbox.at": "it ends with the slot, and begins at 0",
    "Inbox.following": "numbers of datagrams are modulo 2^16 (docs/protocol.md)",
    "Inbox.ahead": "numbers of datagrams are modulo 2^16 (docs/protocol.md)",
    "Outbox.number": "numbers of datagrams are modulo 2^16 (docs/protocol.md)",
    "PacketReceiver.left": "a packet that is shorter than its header does not end within a frame",
    "PacketSender.body": "a message that is answered has a header at least (`EchoBuffer.taken`)",
    "PacketSender.last_at": "a message has at most 1,480 bytes; before `SEND` it is not looked at",
    "PacketSender.index": "it ends with the frame, which has at most 1,518 bytes",
    "PacketSender.at": "it ends with the frame, which has at most 1,518 bytes",
    "Sequencer.index": "the program ends with the memory (resources.check_memories)",
    "Sequencer.token": "contexts are modulo 4; places and numbers are below their tensors' (schedule)",
    "Sequencer.left": "in a pass's last cycle and after it, it is not looked at",
    "Sequencer.grid_end": "of a pass without tokens it is not looked at",
    "Sequencer.last_live": "of a pass without tokens it is not looked at",
    "Sequencer.last_column": "of a pass without a grid it is a column that there is not",
    "Sequencer.last_row_from": "of a pass without a grid it is not looked at",
    "Sequencer.place": "addresses are modulo their memory",
    "Sequencer.column": "a grid has at most max_columns columns (resources.check_shapes)",
    "HaarUnit.lead": "a grid has at most max_columns columns (resources.check_shapes)",
    "HaarUnit.column": "a grid has at most max_columns columns (resources.check_shapes); it ends with a row",
    "HaarUnit.number": "it ends with the tokens of a grid and the lead, which is less than a row more",
    "Attention.row": "a head has at most `keys` rows (resources.check_shapes); it ends with them",
    "Attention.tile": "a row has at most its `key_tiles` (schedule); it ends with them",
    "BinarySoftmax.bound": "what it cuts off is kept in `none`: a threshold property has that",
    "BinarySoftmax.index": "`beyond` says that it was cut off, and replaces it",
    "LineBuffer.last": "a grid has a column at least (resources.check_shapes)",
    "LineBuffer.following": "a grid has at most max_columns columns (resources.check_shapes)",
    "Images.tile": "the address of a word in bank B (resources.check_memories)",
    "Loader.lane": "it ends with the last lane, and begins at 0",
    "Embedding.clipped": "two saturations at most for each value of an image (resources.check_shapes)",
    "Embedding.index": "while no group leaves it runs on, and begins at 0",
    "Head.clipped": "one saturation at most for each of the `dim` sums of an image",
    "SyncFIFOBuffered.produce": "a place in a ring",
    "SyncFIFOBuffered.consume": "a place in a ring",
    "Pool.left": "it counts down to 0 and stops: a stream property has that",
    "FlashBoot.expected": "numbers of frames are modulo 256 (docs/protocol.md)",
    "Uart.timer": "the receiver's runs on while it waits for a start bit, which sets it",
    "Uart.left": "the receiver's goes on with the last bit, and is set with the first",
    "Counters.write__data": "they wrap around, as documented",
    "ScalarMachine.spent": "it wraps around, as documented",
    "ScalarMachine.result_words": "there are at most 1000 classes",
    "ScalarCore.left": "it runs on after the last word or place, where it is not looked at",
    "ScalarCore.ones": "a sum of 16 bits, whose width Amaranth takes as one more for each",
    "ScalarCore.cycles": "an image takes less than 2^32 cycles",
    "ScalarCore.saturations": "an image takes less than 2^32 cycles",
    "ScalarCore.following": "the code ends with a HALT or a jump (the compiler's firmware)",
    "Answers.rest": "a word of whole logits has two places, which is what `place` reaches then",
}
"""Assignments that may cut something off, or that something outside of their block keeps from it, and why.

``Block.target`` names all assignments of a block to that target."""


def address(name: str) -> bool:
    """Whether a target is an address, which is modulo its memory by contract: `hw.program.pass_layout`."""
    last = name.rpartition("__")[2]
    words = (
        "read_0",
        "read_1",
        "corner",
        "line",
        "row_start",
        "word",
        "done_row",
        "query",
        "row_corner",
        "addr",
    )
    return (
        last in words
        or last.startswith("address")
        or last.endswith(("_address", "_addr"))
        or (name == "tiles__payload")
    )
