"""The exceptions for errors that a person caused and can correct."""


class UsageError(Exception):
    """A request that cannot be carried out as it was given; the message is one line and says what to do."""


class ConfigError(UsageError, ValueError):
    """A configuration that no model can have; the message says what was expected and what came."""
