"""The check of a block's sizes."""


def check_positive(block: str, **sizes: object) -> None:
    """Raise ValueError, which names the block and the size, where one is not an integer of at least 1."""
    for name, value in sizes.items():
        if not (isinstance(value, int) and value >= 1):
            raise ValueError(f"{block} {name} must be a positive integer, not {value!r}")
