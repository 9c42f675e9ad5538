"""Whether a tracking server answers at all, told apart from an answer that says no."""

import socket
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

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
        InvalidInput: its port is not a number.
    """
    parts = urlsplit(uri)
    scheme = parts.scheme.partition("+")[0]
    if scheme not in _PORTS or not parts.hostname or (scheme in getproxies() and not proxy_bypass(parts.hostname)):
        return
    try:
        port = parts.port or _PORTS[scheme]
    except ValueError as error:
        raise InvalidInput(
            f"MLFLOW_TRACKING_URI {without_password(uri)!r} has a port that is none ({error}); correct it"
        ) from error
    try:
        socket.create_connection((parts.hostname, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise NoAnswer(first_line(error)) from error


def has_not_answered(error: BaseException | None) -> bool:
    """Whether an error of MLflow's client comes from a connection that failed, rather than from an answer."""
    while error is not None:
        if type(error).__module__.startswith(("requests", "urllib3")):
            return True
        error = error.__cause__ or error.__context__
    return False
