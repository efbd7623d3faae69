"""The exceptions for errors that a person caused and can correct."""

LONGEST = 1000
"""Characters that the text of an exception may have: what it quotes may come from anybody's file."""


def printable(text: str) -> str:
    """``text`` with its control characters, and all others that have no shape, as escape sequences."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class OneLine(Exception):
    """An exception whose text is one line of at most `LONGEST` characters, whatever it quotes. Of a longer
    one the middle is left out, because it begins with the cause and ends with what to do.
    """

    def __str__(self) -> str:
        text = printable(super().__str__())
        end = LONGEST // 3
        return text if len(text) <= LONGEST else f"{text[: LONGEST - end - 3]} … {text[-end:]}"


class UsageError(OneLine):
    """A request that cannot be carried out as it was given; the message is one line and says what to do."""


class ConfigError(UsageError, ValueError):
    """A configuration that no model can have; the message says what was expected and what came."""
