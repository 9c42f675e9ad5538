"""What a command that trains can know before it begins: cheap checks, each with a limit of seconds."""

import shutil
from pathlib import Path

from orchestrator import plugins, runs
from orchestrator.config.experiment import Experiment
from orchestrator.recordings import RecordingStore
from orchestrator.runs import connection
from orchestrator.runs.cluster import trial_text
from trainables.devices import cpu_count, gpu_count
from trainables.errors import InvalidInput

LITTLE_SPACE = 2 * 2**30


def check(experiment: Experiment) -> None:
    """Check the method, the storage and the cluster's address before concepts are rendered and files hashed.

    Raises:
        InvalidInput: one of them cannot be used; the message says how to fix that.
    """
    check_method(experiment)
    check_storage(experiment)
    check_cluster(experiment)


def check_method(experiment: Experiment) -> str:
    """Return what the method trains.

    Raises:
        InvalidInput: the method is unknown, or a setting of it is wrong.
    """
    from trainables.methods import MethodSpec

    chosen = experiment.method
    plugins.METHODS.source(chosen.name)  # says best what is wrong with a module that does not exist
    trains: str = MethodSpec(plugins.METHODS.spec(chosen.name), chosen.settings, chosen.recipe)().trains
    return trains


def check_storage(experiment: Experiment) -> int | None:
    """Return the free bytes of the storage; None if it is not a folder of this machine.

    Raises:
        InvalidInput: it cannot be written.
    """
    storage = runs.storage_of(experiment)
    RecordingStore(storage.url).check_writable()
    return None if storage.path is None else shutil.disk_usage(_existing(storage.path)).free


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def check_cluster(experiment: Experiment) -> None:
    """Check that something answers at the cluster's address, or that a trial fits on this machine.

    Raises:
        InvalidInput: nothing answers, or this machine, on which a cluster would be started, is too small for a trial.
    """
    resources = experiment.resources
    if address := connection.wanted_address(resources.address):
        connection.check_answers(address)
        return
    if connection.is_connected():
        return  # its nodes are looked at before the first trial
    gpus = gpu_count() if resources.gpus_per_trial else 0
    if resources.cpus_per_trial > cpu_count() or resources.gpus_per_trial > gpus:
        raise InvalidInput(
            f"{trial_text(resources)} fits on no node: this machine has {cpu_count()} CPUs and {gpus} GPUs; use a "
            "smaller --gpus-per-trial or resources.cpus_per_trial, or the --address of a cluster"
        )
