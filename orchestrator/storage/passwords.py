"""Passwords do not leave the program by its own messages and logs."""

import re


def without_password(url: str) -> str:
    """Return a URL as it may be shown and logged."""
    return re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", url)
