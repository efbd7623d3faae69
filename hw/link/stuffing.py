"""Byte stuffing: on a line whose bytes never stop coming, which of them are an answer (`hw.link.stuffer`)."""

FLAG = 0x7E
"""The byte of a line on which nothing is said. It is no part of what is said."""
ESCAPE = 0x7D
"""The byte before one that would look like `FLAG` or `ESCAPE`, and has `FLIPPED` turned over."""
FLIPPED = 0x20


def stuffed(data: bytes) -> bytes:
    """``data`` as a `Stuffer` sends it (RFC 1662, section 4.2)."""
    for special in (ESCAPE, FLAG):
        data = data.replace(bytes([special]), bytes([ESCAPE, special ^ FLIPPED]))
    return data


class Unstuffing:
    """Takes the bytes of a line as they come, and gives back what was said on it.

    Bytes that no `Stuffer` sends come through as well: what they are is for the frames' CRC to say.
    """

    def __init__(self) -> None:
        self._left = b""

    def feed(self, line: bytes) -> bytes:
        """Take the next bytes of the line, and return what is said in them."""
        data = self._left + line.replace(bytes([FLAG]), b"")
        # What a last `ESCAPE` is about comes with the next bytes.
        data, self._left = (data[:-1], data[-1:]) if data.endswith(bytes([ESCAPE])) else (data, b"")
        for special in (FLAG, ESCAPE):
            data = data.replace(bytes([ESCAPE, special ^ FLIPPED]), bytes([special]))
        return data
