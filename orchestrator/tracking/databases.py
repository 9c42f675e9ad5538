"""The databases in which MLflow keeps runs: their addresses, and whether one can be opened."""

from pathlib import Path

import sqlalchemy
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from orchestrator.storage.databases import connect_args


def sqlite_uri(file: Path) -> str:
    """Return the address of a SQLite store in a file."""
    url = URL.create("sqlite", database=str(file))
    if url.render_as_string() != f"sqlite:///{file}":
        # For "sqlite:///", MLflow makes the folder whose name is still percent-encoded, beside the real one.
        url = url.set(drivername="sqlite+pysqlite")
    return url.render_as_string(hide_password=False)


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a SQLite store; None for any other store, and for one in memory."""
    try:
        url = make_url(uri)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        return None
    is_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
    return Path(str(url.database)) if is_file else None


def check_database(uri: str) -> None:
    """Ask a database once; MLflow asks one that refuses ten times, for 100 s, and warns each time.

    Raises:
        Exception: it refuses, is damaged, or has no driver; each library raises errors of its own.
    """
    try:
        url = make_url(uri)
        url.get_dialect()
    except (NoSuchModuleError, ArgumentError):
        return  # not a database
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, connect_args=connect_args(url))
    with engine.connect() as connection:
        sqlalchemy.inspect(connection).get_table_names()
