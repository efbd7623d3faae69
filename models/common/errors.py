"""The exception for an error that a person caused and can correct."""


class UsageError(Exception):
    """A request that cannot be carried out as it was given; the message is one line and says what to do."""
