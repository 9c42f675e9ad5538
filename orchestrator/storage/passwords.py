"""Keeps passwords out of what is printed, stored and logged: every address that is shown passes through here."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, quote_plus, unquote, unquote_plus

HIDDEN = "***"

#: Parameters of an address whose values are not shown; a name that only sounds secret costs nothing but its value.
_SECRET = re.compile(r"pass|pwd|^pw$|secret|token|key|credential|signature|^sig$|auth|odbc", re.IGNORECASE)
_PARAMETER = re.compile(r"(?:^|[;#?])([^=;#?]+)=")
_ADDRESS_IN_TEXT = re.compile(r"[A-Za-z][\w+.-]*://\S+")
#: The beginnings of what is a path although it may hold ":" and "@".
_PATHS = ("/", ".", "~", "journal:")
#: A shorter part of a password is found in ordinary words too, which would then be hidden.
_SHORTEST_PART = 4


@dataclass(frozen=True)
class _Parsed:
    """An address, parsed for what must not be shown.

    Attributes:
        shown: the address with every secret replaced by `HIDDEN`.
        secrets: what was replaced, as it was written.
    """

    shown: str
    secrets: tuple[str, ...] = ()


def without_password(address: str) -> str:
    """Return an address with its secrets replaced by "***", so that it may be printed, stored and logged.

    Secrets are the password before the host, also where it holds a "/", "@", "?" or "#" that should be percent-encoded;
    the values of parameters such as `password` and `token`; and a user without a password in http(s), and in git+https
    and its like, who is a token.
    Where an address can be read in two ways, too much is hidden rather than too little.

    Example:
        >>> without_password("postgresql://me:a/b@c@host:5432/db?sslmode=require&password=x")
        'postgresql://me:***@host:5432/db?sslmode=require&password=***'
        >>> without_password("s3://bucket/runs@home")
        's3://bucket/runs@home'
    """
    return _parse(address).shown


def without_passwords(text: str) -> str:
    """Return a text with the secrets of every address in it replaced by "***"; an address ends at white space."""
    return _ADDRESS_IN_TEXT.sub(lambda match: without_password(match[0]), text)


def without_password_of(address: str, text: str) -> str:
    """Return a text about an address, such as a library's error, without its secrets or longer parts of them.

    Example:
        >>> without_password_of("mysql://me:abcd@efgh@host/x", "no host 'efgh@host' for mysql://me:abcd@efgh@host/x")
        "no host '***@host' for mysql://me:***@host/x"
    """
    parsed = _parse(address)
    text = text.replace(address, parsed.shown)
    parts = {part for secret in parsed.secrets for part in _spellings(secret) if len(part) >= _SHORTEST_PART}
    for part in sorted(parts, key=len, reverse=True):
        text = text.replace(part, HIDDEN)
    return without_passwords(text)


def _spellings(secret: str) -> Iterator[str]:
    """Yield a secret as it was written, decoded and encoded, and what a parser that misreads it would cut it into."""
    for spelling in (secret, unquote(secret), unquote_plus(secret)):
        yield from (spelling, quote(spelling, safe=""), quote_plus(spelling), *re.split(r"[/?#@:&;=]", spelling))


def _parse(address: str) -> _Parsed:
    scheme, separator, rest = address.partition("://")
    if not separator:
        return _without_scheme(address)
    # A host holds no "@", so that all before the last one is user and password, whatever they contain.
    login, at, place = rest.rpartition("@")
    user, colon, password = login.partition(":")
    if not at or any(character in user for character in "/?#"):  # the "@" is in a path or a parameter
        return _with_hidden_parameters(f"{scheme}://", rest, ())
    if colon:
        return _with_hidden_parameters(f"{scheme}://{user}:{HIDDEN}@", place, (password,))
    if scheme.lower().rpartition("+")[2] in ("http", "https"):
        return _with_hidden_parameters(f"{scheme}://{HIDDEN}@", place, (user,))
    return _with_hidden_parameters(f"{scheme}://{user}@", place, ())


def _without_scheme(address: str) -> _Parsed:
    """Parse what may be an address with a mistyped or forgotten scheme: me:password@host."""
    login, at, place = address.rpartition("@")
    user, colon, password = login.partition(":")
    if not (at and colon) or address.startswith(_PATHS):
        return _Parsed(address)
    return _with_hidden_parameters(f"{user}:{HIDDEN}@", place, (password,))


def _with_hidden_parameters(head: str, place: str, secrets: tuple[str, ...]) -> _Parsed:
    """Return `head` and `place`, without the values of the parameters in `place` that are secret."""
    begin = re.search(r"[?#;]", place)
    if begin is None:
        return _Parsed(head + place, _not_empty(secrets))
    shown = []
    for part in place[begin.end() :].split("&"):
        # All up to the next "&": an unencoded "#" or ";" may belong to the value.
        names = (name for name in _PARAMETER.finditer(part) if _SECRET.search(unquote_plus(name[1])))
        if (name := next(names, None)) is not None:
            secrets += (part[name.end() :],)
            part = part[: name.end()] + HIDDEN
        shown.append(part)
    return _Parsed(head + place[: begin.end()] + "&".join(shown), _not_empty(secrets))


def _not_empty(secrets: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(secret for secret in secrets if secret and secret != HIDDEN)
