"""MLflow: a parent run per command or study, a child run per concept; the only module that imports mlflow."""

import logging
import math
import os
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from orchestrator.config.experiment import Experiment
from orchestrator.recordings.identity import RunIdentity
from orchestrator.runs.observing import say
from orchestrator.runs.spec import RunResult, RunSpec
from orchestrator.storage.passwords import without_password, without_password_of, without_passwords
from orchestrator.storage.storage import Storage
from orchestrator.tracking.answers import NoAnswer, check_answers, has_not_answered
from orchestrator.tracking.databases import check_database, sqlite_file, sqlite_uri
from trainables.errors import InvalidInput
from trainables.text import first_line
from trainables.training.report import L_DET, Report
from trainables.types import JsonObject

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: How often and how long MLflow's client tries a server, unless its own variables say otherwise: it would take minutes
#: for each call, while a run waits. A server that lives answers in well under a second.
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}

MAX_POINTS = 1000  # a page with ten times as many points per run is slow to open


def tracking_uri(experiment: Experiment) -> str:
    """Return `MLFLOW_TRACKING_URI` if it is set, else a SQLite file in a local storage, else in `dvar-runs`."""
    configured = os.environ.get("MLFLOW_TRACKING_URI")
    if configured:
        return configured
    return sqlite_uri(_local_folder(experiment) / "mlflow.db")


def _local_folder(experiment: Experiment) -> Path:
    return Storage(experiment.storage).path or Path("dvar-runs").resolve()


class Tracker:
    """Writes to an MLflow experiment; made when a command begins, so that a refusal is known at once.

    A server that does not answer is no reason not to train: then nothing is logged, and `problem` says so.

    Args:
        experiment: its name and storage determine where to write.

    Attributes:
        uri: of the tracking server or store; it may hold a password, which `shown_uri` hides.
        problem: why nothing is logged; empty if MLflow answers.

    Raises:
        InvalidInput: the tracking server or store refuses, or the experiment was deleted there.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self.uri, self.problem = tracking_uri(experiment), ""
        self._client: MlflowClient | None = None
        self._experiment_id = ""
        try:
            check_answers(self.uri)
            self._client, self._experiment_id = _connect(experiment, self.uri)
        except NoAnswer as silence:
            self.problem = (
                f"MLflow at {without_password(self.uri)} does not answer ({silence}); check MLFLOW_TRACKING_URI"
            )

    @property
    def shown_uri(self) -> str:
        """The address of the tracking server or store, to be printed."""
        return without_password(self.uri)

    def where_runs_are(self) -> str:
        """Return a line that says how to browse the runs in MLflow."""
        if self.problem:
            return "these runs are not in MLflow, which did not answer"
        if sqlite_file(self.uri):
            return f"browse the runs: mlflow ui --backend-store-uri {shlex.quote(self.uri)}"
        return f"runs are in MLflow at {self.shown_uri}"

    @contextmanager
    def run(self, kind: str, params: JsonObject, name: str | None = None) -> Iterator["ParentRun"]:
        """Open a parent run; it ends as FINISHED, as FAILED on an error, or as KILLED on an interrupt.

        Args:
            kind: of the command, such as "tune"; a tag of the run.
            params: to log.
            name: of the run; None makes it from kind and method.
        """
        run_name = without_passwords(name or f"{kind} {self._experiment.method.name}")
        tags = {"mlflow.runName": run_name, "dvar.kind": kind}
        run_id = ""
        if self._client is not None:
            with _passing_over("begin a run", self._lose):
                run_id = self._client.create_run(self._experiment_id, tags=tags).info.run_id
        parent = ParentRun(self._client, self._experiment_id, run_id)
        parent.log_params(params)
        status = "FAILED"
        try:
            yield parent
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            with _passing_over("end a run"):
                parent.close(status)

    def _lose(self) -> None:
        self._client, self.problem = None, "MLflow stopped answering"


@contextmanager
def _passing_over(what: str, on_failure: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Turn MLflow's failures into a line on stderr: what is tracked must not depend on them."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - MLflow, its database and the network have errors of their own
        on_failure()
        say(f"warning: MLflow could not {what} ({first_line(error)}); the work goes on without it")


def _connect(experiment: Experiment, uri: str) -> tuple["MlflowClient", str]:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for name in ("alembic", "mlflow"):  # the first use of a SQLite store logs every migration of its schema
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # whole tracebacks of what it raises, too

    alone: AbstractContextManager[Any] = nullcontext()
    if (file := sqlite_file(uri)) is not None:
        _make_folder(file.parent)
        # The first use creates the tables; a second command that begins meanwhile would see only some of them.
        alone = FileLock(file.with_name(f".{file.name}.lock"))
    artifacts = None
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        artifacts = (_local_folder(experiment) / "mlflow-artifacts").as_uri()
    try:
        with alone:
            check_database(uri)
            client = MlflowClient(uri)
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or experiment.name
            existing = client.get_experiment_by_name(name)
            if existing is None:
                return client, client.create_experiment(name, artifacts)
    except Exception as error:  # MLflow's own, the database's, and those of a driver that is not installed
        reason = without_password_of(uri, first_line(error))
        if has_not_answered(error):
            raise NoAnswer(reason) from error
        raise InvalidInput(
            f"MLflow at {without_password(uri)} cannot be used ({reason}); check MLFLOW_TRACKING_URI"
        ) from error
    if existing.lifecycle_stage != "active":
        # MLflow's command line knows the store only by this variable.
        where = "" if os.environ.get("MLFLOW_TRACKING_URI") else f"MLFLOW_TRACKING_URI={shlex.quote(uri)} "
        raise InvalidInput(
            f"the experiment {name!r} was deleted in MLflow; restore it ({where}mlflow experiments restore "
            f"--experiment-id {existing.experiment_id}), or choose another name with MLFLOW_EXPERIMENT_NAME"
        )
    return client, existing.experiment_id


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"storage {folder} cannot be written ({error}); choose another with --storage") from error


class ParentRun:
    """The run of a command, and a `runs.Listener` that gives each concept a child run.

    Without a client, it does nothing. Where MLflow fails amid a command, a line on stderr says so, and nothing more is
    logged; only to a `Listener`'s methods, which `runs.observing` guards, a failure is an error.

    Attributes:
        run_id: MLflow's id of the run; empty without a client.
    """

    def __init__(self, client: "MlflowClient | None", experiment_id: str, run_id: str) -> None:
        self._client, self._experiment_id, self.run_id = client, experiment_id, run_id
        self._to_close = client
        self._children: dict[str, str] = {}
        self._stride, self._logged = 1, dict[str, int]()

    def log_params(self, params: JsonObject) -> None:
        """Log parameters; nested parameters get dotted names."""
        with self._passing_over("log parameters"):
            _log(self._client, self.run_id, params=_flatten(params))

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Log metrics of the run as a whole."""
        with self._passing_over("log metrics"):
            _log(self._client, self.run_id, metrics=[(name, value, 0) for name, value in metrics.items()])

    def _passing_over(self, what: str) -> AbstractContextManager[None]:
        def lose() -> None:
            self._client = None

        return _passing_over(what, lose)

    def log_artifact(self, path: Path) -> None:
        """Copy a file to the run's artifacts."""
        if self._client is None:
            return
        with self._passing_over("take a file"):
            self._client.log_artifact(self.run_id, str(path))

    def log_text(self, text: str, name: str) -> None:
        """Write a text to the run's artifact `name`."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_text(text, encoding="utf-8")
            self.log_artifact(path)

    def runs_started(self, specs: Sequence[RunSpec], budget: int) -> None:
        """Open a child run for every spec, and end what a killed driver left open for it."""
        if self._client is None:
            return
        self._stride = -(-budget // MAX_POINTS)
        for spec in specs:
            self._close_forsaken(spec.key)
            self._children[spec.key] = self._child(
                self._client, spec.concept, _parameters(spec.identity), {"dvar.key": spec.key}
            )

    def _close_forsaken(self, key: str) -> None:
        """End the runs that a killed driver left RUNNING; the recording continues in the new run."""
        assert self._client is not None
        query = f"tags.`dvar.key` = '{key}' and attributes.status = 'RUNNING'"
        for child in self._client.search_runs([self._experiment_id], query):
            parent = self._client.get_run(child.data.tags["mlflow.parentRunId"])
            if parent.info.run_id == self.run_id:
                continue  # a failed run that is retried
            for run in (child, parent):
                if run.info.status == "RUNNING":
                    self._client.set_terminated(run.info.run_id, "KILLED")

    def child(self, name: str, params: JsonObject, tags: Mapping[str, str]) -> str:
        """Open a child run with parameters and tags, and return its id; empty where nothing is logged."""
        if self._client is None:
            return ""
        run_id = ""
        with self._passing_over("begin a run"):
            run_id = self._child(self._client, name, params, tags)
        return run_id

    def _child(self, client: "MlflowClient", name: str, params: JsonObject, tags: Mapping[str, str]) -> str:
        parent = {"mlflow.parentRunId": self.run_id, "mlflow.runName": name}
        run_id: str = client.create_run(self._experiment_id, tags=parent | dict(tags)).info.run_id
        _log(client, run_id, params=_flatten(params))
        return run_id

    def finish(self, run_id: str, metrics: Mapping[str, float]) -> None:
        """Log a child run's metrics, and end it as FINISHED."""
        if self._client is None:
            return
        with self._passing_over("end a run"):
            _log(self._client, run_id, metrics=[(name, value, 0) for name, value in metrics.items()])
            self._client.set_terminated(run_id, "FINISHED")

    def run_reported(self, spec: RunSpec, report: Report) -> None:
        """Log L_det, thinned to about `MAX_POINTS` values per run, and the latest values of the other metrics."""
        if self._client is None:
            return
        metrics = []
        for step, value in enumerate(report.l_det, start=report.first_step):
            # The first value of every few steps: if L_det is evaluated seldom, fixed steps could miss every value.
            if math.isfinite(value) and step // self._stride > self._logged.get(spec.key, 0):
                self._logged[spec.key] = step // self._stride
                metrics.append((L_DET, value, step))
        metrics += [(name, value, report.step) for name, value in report.metrics.items() if name != L_DET]
        _log(self._client, self._children[spec.key], metrics=metrics)

    def run_ended(self, result: RunResult) -> None:
        """Log how the run ended, and end its child run: FINISHED, FAILED, or KILLED where it was only interrupted."""
        if self._client is None:
            return
        run_id = self._children.pop(result.spec.key)
        _log(self._client, run_id, metrics=[("steps", result.steps, 0)] if result.steps else [])
        self._client.set_tag(run_id, "dvar.state", str(result.state))
        self._client.set_tag(run_id, "dvar.reason", without_passwords(result.reason))
        status = "FINISHED" if result.is_good else "FAILED" if result.has_failed else "KILLED"
        self._client.set_terminated(run_id, status)

    def close(self, status: str) -> None:
        """End the run as `status`, after ending child runs that are still open as KILLED."""
        if self._to_close is None:
            return
        for run_id in self._children.values():
            self._to_close.set_terminated(run_id, "KILLED")
        self._to_close.set_terminated(self.run_id, status)


def _parameters(identity: RunIdentity) -> dict[str, object]:
    return identity.to_json() | {
        "concept": identity.concept,
        "class_noun": identity.class_noun,
        "images": identity.image_count,
    }


def _flatten(values: JsonObject, prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = without_passwords(str(value))
    return flat


def _log(
    client: "MlflowClient | None",
    run_id: str,
    *,
    metrics: Sequence[tuple[str, float, int]] = (),
    params: Mapping[str, str] | None = None,
) -> None:
    """Send metrics and parameters in as few requests as MLflow allows (1000 metrics, 100 parameters each)."""
    if client is None:
        return
    from time import time

    from mlflow.entities import Metric, Param

    now = int(time() * 1000)
    rows = [Metric(name, float(value), now, step) for name, value, step in metrics]
    pairs = [Param(name, value[:6000]) for name, value in (params or {}).items()]
    for start in range(0, max(len(rows), 1), 1000):
        client.log_batch(run_id, metrics=rows[start : start + 1000], params=pairs[:100] if start == 0 else ())
    for start in range(100, len(pairs), 100):
        client.log_batch(run_id, params=pairs[start : start + 100])
