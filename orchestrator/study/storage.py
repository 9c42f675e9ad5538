"""Where a study is kept (a file, a journal or a database, given as a URL), and how Optuna opens it."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import optuna
import sqlalchemy
from filelock import FileLock
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from orchestrator.storage.databases import connect_args
from orchestrator.storage.passwords import HIDDEN, without_password, without_password_of
from orchestrator.storage.sealed import encode_sealed, unsealed
from orchestrator.storage.storage import Storage
from trainables.errors import InvalidInput
from trainables.text import first_line

JOURNAL, POSTGRESQL = "journal:", "postgresql://"
#: What other processes may take to make a database's tables, which takes 2 s on two busy cores.
TABLES_SECONDS = 60
#: Names the advisory lock of those who make tables: any number that no other program takes.
_TABLES_LOCK = 0x64766172


class FilesJournal(BaseJournalBackend):
    """Optuna's journal below any folder or URL, including object storage: a small file per append.

    It serves one process at a time.

    Args:
        place: of the journal.

    Raises:
        InvalidInput: a file of the journal is damaged or missing.
    """

    def __init__(self, place: Storage) -> None:
        self._files = place.files()
        self._logs: list[dict[str, object]] = []
        for name in self._files.children():
            if name.endswith(".json"):
                self._logs += self._read(name)

    def _read(self, name: str) -> list[dict[str, object]]:
        """Return the logs of a file, which is named by the number of its first log."""
        try:
            content = json.loads(self._files.read(name) or b"")
            logs = unsealed(content).get("logs") if isinstance(content, dict) else content  # earlier: the list alone
        except (ValueError, RecursionError):
            logs = None
        if not isinstance(logs, list) or name != self._name():
            raise InvalidInput(
                f"the study in {self._files.url} is damaged at {name}; delete that folder: its runs are kept, and "
                "a new search that suggests their settings trains none of them again"
            )
        return logs

    def _name(self) -> str:
        return f"{len(self._logs):08d}.json"

    def read_logs(self, log_number_from: int) -> list[dict[str, object]]:
        """Return the logs whose number, counted from 0, is at least the given one; Optuna calls this."""
        return self._logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, object]]) -> None:
        """Write further logs, as one file; Optuna calls this.

        Raises:
            InvalidInput: another process has written logs meanwhile, after which ours would be out of order.
        """
        if not self._files.create(self._name(), encode_sealed({"logs": logs})):
            raise InvalidInput(f"another process works on the study in {self._files.url}; wait until it ends")
        self._logs += logs


def check_storage(url: str) -> None:
    """Check that a text is an address of `open_storage`, without opening or making anything.

    Raises:
        InvalidInput: it is no address, or of an unknown kind of database; the message hides the password.
    """
    if url.startswith(JOURNAL):
        return
    try:
        make_url(url).get_dialect()
    except (ArgumentError, ValueError) as error:  # ValueError: a port that is no number
        reason = without_password_of(url, first_line(error))
        raise InvalidInput(
            f"study storage {without_password(url)!r} is no address ({reason}); use journal:FILE, sqlite:///FILE or a "
            "database URL"
        ) from error
    if HIDDEN in url:
        raise InvalidInput(f"study storage {url!r} lacks its password, which is never printed; use --study-storage")


def open_storage(url: str) -> BaseStorage:
    """Open an Optuna storage.

    Args:
        url: "journal:PATH", a file to which several processes can append, also over NFS; "sqlite:///PATH", for a
            single process at a time; or any database that SQLAlchemy supports ("postgresql://..."), for many processes
            on many machines.

    Raises:
        InvalidInput: it cannot be opened; the message hides the password.
    """
    try:
        if url.startswith(JOURNAL):
            return JournalStorage(JournalFileBackend(url.removeprefix(JOURNAL).removeprefix("//")))
        if url.startswith(POSTGRESQL):  # with the driver of the extra `postgresql`, not SQLAlchemy's older default
            address = make_url(url).set(drivername="postgresql+psycopg")
            return _open_database(address.render_as_string(hide_password=False))
        return _open_database(url)
    except Exception as error:  # each kind of storage raises errors of its own
        shown = without_password(url)
        reason = without_password_of(url, str(_first_cause(error)))
        if isinstance(error, ImportError):
            reason = "the database's driver is not installed; for PostgreSQL: pip install 'dvar-tune[postgresql]'"
        raise InvalidInput(f"study storage {shown!r} cannot be used: {reason}") from error


def _first_cause(error: BaseException) -> BaseException:
    """Return what led to an error: Optuna and SQLAlchemy wrap what a database says in words that fit anything."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _open_database(url: str) -> BaseStorage:
    with _making_tables_alone(url):
        return RDBStorage(url)


@contextmanager
def _making_tables_alone(url: str) -> Iterator[None]:
    """Let a single process at a time look whether a database has its tables, and make them.

    Of two that begin on a fresh database, each would see some of the other's tables, and fail.
    """
    place = sqlalchemy.make_url(url)
    kind = place.get_backend_name()
    if kind == "sqlite" and place.database and place.database != ":memory:":
        file = Path(place.database)
        with FileLock(file.with_name(f".{file.name}.lock"), timeout=TABLES_SECONDS):
            yield
    elif kind == "postgresql":
        engine = sqlalchemy.create_engine(place, poolclass=sqlalchemy.NullPool, connect_args=connect_args(place))
        with engine.begin() as connection:  # the lock ends with the transaction, however that ends
            connection.execute(sqlalchemy.text(f"SET LOCAL lock_timeout = '{TABLES_SECONDS}s'"))
            connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_xact_lock(_TABLES_LOCK)))
            yield
    else:
        yield


def open_study(
    storage: BaseStorage | None, study_name: str, seed: int, pareto: bool, *, is_shared: bool
) -> optuna.Study:
    """Open the study of a name, or make it.

    Args:
        storage: see `open_storage`; None keeps the study in memory.
        study_name: its name in the storage.
        seed: of the sampler.
        pareto: whether cost and quality are two objectives.
        is_shared: whether other processes may work on it at the same time.
    """
    directions: list[Literal["minimize", "maximize"]] = ["minimize", "maximize"] if pareto else ["minimize"]
    study = optuna.create_study(storage=storage, study_name=study_name, load_if_exists=True, directions=directions)
    study.sampler = optuna.samplers.TPESampler(seed=_sampler_seed(seed, len(study.trials), is_shared=is_shared))
    return study


def _sampler_seed(seed: int, trials: int, *, is_shared: bool) -> int:
    """Return the seed of a sampler that begins after `trials` trials.

    The same seed on resume would repeat the first samples, and workers that start together would draw the same
    samples: if other processes may work on the study too, the process is part of the seed.
    """
    worker = [os.getpid(), *socket.gethostname().encode()] if is_shared else []
    return int(np.random.SeedSequence([seed % 2**32, trials, *worker]).generate_state(1)[0])


def finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Return the trials that ended with a value, without a copy of each."""
    return study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna from logging anything below a warning while the context lasts."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
