"""The error that says: what was brought in cannot be used, and how to mend it."""


class InvalidInput(ValueError):
    """Something that the user gave (a file, a name, a value) is unusable; the message names it and the remedy."""
