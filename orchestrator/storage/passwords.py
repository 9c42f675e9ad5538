"""Keeps passwords out of the program's messages and logs."""

import re


def without_password(url: str) -> str:
    """Return a URL with its password replaced by "***", so that it may be shown and logged."""
    return re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", url)
