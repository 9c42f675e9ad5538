"""Where a study is kept: a file, a journal or a database, by one URL."""

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

JOURNAL, POSTGRESQL = "journal:", "postgresql://"


def open_storage(url: str) -> BaseStorage:
    """Open an Optuna storage.

    Args:
        url: "journal:PATH", a file that several processes append to, also over NFS; "sqlite:///PATH", for one process
            at a time; or any database that SQLAlchemy knows ("postgresql://..."), for many on many machines.

    Raises:
        Exception: it cannot be opened; each kind of storage raises its own.
    """
    if url.startswith(JOURNAL):
        return JournalStorage(JournalFileBackend(url.removeprefix(JOURNAL).removeprefix("//")))
    if url.startswith(POSTGRESQL):  # the driver that the extra `postgresql` installs, not SQLAlchemy's older default
        url = f"postgresql+psycopg://{url.removeprefix(POSTGRESQL)}"
    return RDBStorage(url)
