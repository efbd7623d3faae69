"""What a person did and can mend, as an exception."""


class UsageError(Exception):
    """Something that cannot be carried out as it was given; the message is one line and says what to do."""
