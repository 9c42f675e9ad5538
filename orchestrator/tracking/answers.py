"""Whether a tracking server answers at all, told apart from an answer that says no."""

import socket
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from orchestrator.storage.passwords import without_password
from trainables.errors import InvalidInput
from trainables.text import first_line

#: A server that lives takes a connection in milliseconds.
CONNECT_SECONDS = 5.0
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}


class NoAnswer(Exception):
    """A tracking server does not answer; the message says how."""


def check_answers(uri: str) -> None:
    """Check that something listens where a server should, in seconds; MLflow itself tries for minutes.

    Args:
        uri: of a server or database; others, and those behind a proxy, are not looked at.

    Raises:
        NoAnswer: nothing does.
        InvalidInput: it is no address.
    """
    try:
        scheme, host, port = _parsed(uri)
    except (ValueError, ArgumentError) as error:  # brackets that do not match, a port that is no number
        raise _no_address(uri) from error
    if scheme not in _PORTS or not host or (scheme in getproxies() and not proxy_bypass(host)):
        return
    try:
        socket.create_connection((host, port or _PORTS[scheme]), timeout=CONNECT_SECONDS).close()
    except UnicodeError as error:  # a host with an empty label, or a longer one than there can be
        raise _no_address(uri) from error
    except OSError as error:
        raise NoAnswer(first_line(error)) from error


def _parsed(uri: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port as the libraries read them: SQLAlchemy allows "/" in a password, HTTP does not."""
    scheme = uri.partition(":")[0].partition("+")[0]
    if scheme in ("http", "https"):
        parts = urlsplit(uri)
        return scheme, parts.hostname, parts.port
    if scheme not in _PORTS:
        return scheme, None, None
    url = make_url(uri)
    return scheme, url.host, url.port


def _no_address(uri: str) -> InvalidInput:
    """Return the error without the library's words, which quote a part of the password as host or port."""
    return InvalidInput(
        f"MLFLOW_TRACKING_URI {without_password(uri)!r} is no address: check its host and port, and percent-encode "
        "what is special in its password"
    )


def has_not_answered(error: BaseException | None) -> bool:
    """Whether an error of MLflow's client comes from a connection that failed, rather than from an answer."""
    while error is not None:
        if type(error).__module__.startswith(("requests", "urllib3")) or type(error).__name__ == "ConnectionTimeout":
            return True
        error = error.__cause__ or error.__context__
    return False
