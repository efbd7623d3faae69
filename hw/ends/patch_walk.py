"""The addresses of an image's pixels and of their weights, in the order in which they are multiplied."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring

from haarlequin.hw.common.flow_control import counter
from haarlequin.hw.common.tables import TableRead


def walk_patches(
    m: Module, sizes: wiring.Component, step: Signal, pixel: TableRead, weights: TableRead
) -> Value:
    """Walk through the image patch by patch, and through each patch once for every group.

    The image lies where the ports of an `Embedding` say, which are ``sizes``; ``step`` is high where its
    multipliers advance.

    Returns four bits for each tap, which say that it is the first of a group, the last of a group, the
    last of the image, and that it is outside the image.
    """
    running = Signal()
    row_corner, corner, line = (Signal.like(pixel.addr) for _ in range(3))
    taken = running & step
    byte, in_line = counter(m, sizes.patch_bytes, taken)
    line_number, in_group = counter(m, sizes.patch, taken, inner=in_line)
    _, in_token = counter(m, sizes.dim, taken, sizes.macs, inner=in_group)
    column, in_row = counter(m, sizes.columns, taken, inner=in_token)
    row, in_image = counter(m, sizes.rows, taken, inner=in_row)
    before = ((row == 0) & (line_number == 0)) | ((column == 0) & (byte < sizes.pixel_bytes))
    below = (row == sizes.rows - 1) & (line_number == sizes.patch - 1)
    right = (column == sizes.columns - 1) & (byte + sizes.pixel_bytes >= sizes.patch_bytes)
    outside = (sizes.padding & before) | (sizes.padding_end & (below | right))
    begins_group = Signal(init=1)
    with m.If(taken):
        m.d.sync += [begins_group.eq(in_group), weights.addr.eq(Mux(in_token, 0, weights.addr + 1))]

    # All of them are modulo the memory: with padding, the first patches begin before the image.
    following, next_line = pixel.addr + 1, line + sizes.line_bytes
    next_row = row_corner + sizes.step_lines
    next_corner = Mux(in_row, next_row, corner + sizes.step_bytes)
    origin = sizes.image - Mux(sizes.padding, sizes.line_bytes + sizes.pixel_bytes, 0)
    with m.If(sizes.start):
        m.d.sync += [address.eq(origin) for address in (pixel.addr, line, corner, row_corner)]
        m.d.sync += running.eq(1)
    with m.Elif(taken):  # ``taken`` is known last, so it only enables the registers
        with m.If(in_token):
            m.d.sync += [address.eq(next_corner) for address in (pixel.addr, line, corner)]
            m.d.sync += running.eq(~in_image)
            with m.If(in_row):
                m.d.sync += row_corner.eq(next_row)
        with m.Elif(in_group):
            m.d.sync += [address.eq(corner) for address in (pixel.addr, line)]
        with m.Elif(in_line):
            m.d.sync += [address.eq(next_line) for address in (pixel.addr, line)]
        with m.Else():
            m.d.sync += pixel.addr.eq(following)
    return Cat(begins_group, taken & in_group, taken & in_image, outside)
