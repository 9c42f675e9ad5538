"""Text from outside in what Rich prints: a name, a reason or an error can neither steer the terminal nor be markup."""

import re

from rich import markup
from rich.text import Text

from orchestrator.storage.passwords import without_passwords
from trainables.text import LINE_LIMIT, printable, printable_lines

_NOTHING = "[none][/none]"


def escape(text: str, limit: int = LINE_LIMIT) -> str:
    """Return text from outside to be put into Rich's markup, without passwords; see `trainables.text.printable`."""
    return _escaped(printable(without_passwords(text), limit))


def escape_lines(text: str) -> str:
    """Return text of several lines to be put into Rich's markup, without passwords."""
    return _escaped(printable_lines(without_passwords(text)))


def plain(text: str) -> Text:
    """Return text from outside, without passwords, as a cell or heading that Rich shows as it is; lines stay lines."""
    return Text(printable_lines(without_passwords(text)))


def _escaped(text: str) -> str:
    # An empty style keeps apart what Rich would join: `:bomb:` is a picture, and a backslash at the end escapes the tag
    # that follows, before which Rich halves backslashes.
    body = text.rstrip("\\")
    end = "\\\\" * (len(text) - len(body)) + _NOTHING if len(body) < len(text) else ""
    return re.sub(r":(?=\S*:)", f":{_NOTHING}", markup.escape(body)) + end
