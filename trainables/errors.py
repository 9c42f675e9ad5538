"""The error that says what cannot be used, and how to fix it."""


class InvalidInput(ValueError):
    """Something that the user gave (a file, a name, a value) is unusable; the message names it and the remedy."""
