"""`dvar doctor`: checks everything that a run needs before it begins; names each problem and how to fix it."""

import platform
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Literal

from packaging.requirements import Requirement
from packaging.version import Version

from orchestrator import __distribution__, runs
from orchestrator.commands import preflight
from orchestrator.config.concepts import read_concepts
from orchestrator.config.experiment import Experiment
from orchestrator.config.split import split_concepts
from orchestrator.report.console.markup import escape
from orchestrator.report.console.output import OutputConsole
from orchestrator.runs import cluster
from orchestrator.runs.connection import connected
from orchestrator.storage.storage import Storage
from orchestrator.tracking.mlflow import Tracker
from trainables.errors import InvalidInput
from trainables.models.files import resolve
from trainables.settings import MINIATURE
from trainables.text import first_line

#: Packages whose versions must be the same on every node; otherwise the series differ.
SHOWN = ("ray", "torch", "diffusers", "transformers", "peft")

Verdict = Literal["ok", "note", "wrong"]


@dataclass(frozen=True)
class Finding:
    """The result of a check.

    Attributes:
        about: what was checked.
        verdict: "ok", "note" (works, but look at it) or "wrong".
        text: what it is, or the problem and how to fix it.
    """

    about: str
    verdict: Verdict
    text: str


def doctor(experiment: Experiment) -> bool:
    """Print the result of checking everything that a run needs; return whether nothing is wrong."""
    console, is_good = OutputConsole(), True
    styles = {"ok": "green", "note": "yellow", "wrong": "red"}
    for finding in examine(experiment):
        is_good = is_good and finding.verdict != "wrong"
        head = f"[{styles[finding.verdict]}]{finding.verdict:>6}[/]  {finding.about:<11}"
        console.print(f"{head} {escape(finding.text)}", soft_wrap=True)
    return is_good


def examine(experiment: Experiment) -> Iterator[Finding]:
    """Yield the findings on everything that a run of the experiment needs; a failed check does not stop the others."""
    yield from _versions()
    checks: dict[str, Callable[[Experiment], Iterator[Finding]]] = {
        "method": _method,
        "concepts": _concepts,
        "base model": _base_model,
        "captions": _captions,
        "storage": _storage,
        "MLflow": _tracking,
        "Ray": _cluster,
    }
    for about, check in checks.items():
        try:
            yield from check(experiment)
        except InvalidInput as error:
            yield Finding(about, "wrong", " ".join(str(error).split()))


def _versions() -> Iterator[Finding]:
    installed = {name: version(name) for name in SHOWN}
    listed = ", ".join(f"{name} {text}" for name, text in installed.items())
    yield Finding("versions", "ok", f"Python {platform.python_version()}, {listed}")
    for wanted in _requirements():
        with suppress(PackageNotFoundError):
            here = version(wanted.name)
            if not wanted.specifier.contains(Version(here), prereleases=True):
                yield Finding(
                    "versions", "wrong", f"{wanted.name} {here} is not {wanted.specifier}; install a version that is"
                )


def _requirements() -> list[Requirement]:
    try:
        listed = [Requirement(text) for text in requires(__distribution__) or ()]
    except PackageNotFoundError:  # a plain checkout
        return []
    return [
        requirement
        for requirement in listed
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    ]


def _method(experiment: Experiment) -> Iterator[Finding]:
    yield Finding("method", "ok", f"{experiment.method.name}: {preflight.check_method(experiment)}")


def _concepts(experiment: Experiment) -> Iterator[Finding]:
    split = split_concepts(experiment, read_concepts(experiment))
    text = f"{len(split.all)}: {len(split.tuning)} to tune on, {len(split.test)} to test on"
    if split.is_shared:
        yield Finding("concepts", "note", f"{text}; these are the same, so no result would hold for other concepts")
    else:
        yield Finding("concepts", "ok", text)
    if experiment.concepts.source != MINIATURE:
        for concept in split.all:
            yield Finding("concept", "note" if concept.unused else "ok", concept.summary)


def _base_model(experiment: Experiment) -> Iterator[Finding]:
    folder = resolve(experiment.base_model)
    size = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    files = runs.run_specs(experiment, read_concepts(experiment)[:1])[0].identity.fingerprint
    yield Finding("base model", "ok", f"{experiment.base_model.id}, {size / 1e9:.2f} GB, fingerprint {files}")


def _captions(experiment: Experiment) -> Iterator[Finding]:
    runs.full_length_runs(experiment).check(read_concepts(experiment))
    yield Finding("captions", "ok", "every placeholder is read as a word of its own")


def _storage(experiment: Experiment) -> Iterator[Finding]:
    storage, free = runs.storage_of(experiment), preflight.check_storage(experiment)
    if free is None:
        yield Finding("storage", "ok", f"{storage} can be written")
        return
    is_enough = free > preflight.LITTLE_SPACE
    text = f"{storage} can be written, {free / 2**30:.1f} GiB free"
    yield Finding("storage", "ok" if is_enough else "wrong", text if is_enough else f"{text}; make room")


def _tracking(experiment: Experiment) -> Iterator[Finding]:
    tracker = Tracker(experiment)
    if tracker.problem:
        yield Finding("MLflow", "note", f"{tracker.problem}; runs would not be logged there")
    else:
        yield Finding("MLflow", "ok", f"{tracker.shown_uri} can be reached")


def _cluster(experiment: Experiment) -> Iterator[Finding]:
    resources = experiment.resources
    preflight.check_cluster(experiment)
    with connected(resources.address):
        nodes = cluster.nodes()
        for node in nodes:
            yield Finding("node", "ok", f"{node.address}: {node.cpus:g} CPUs, {node.gpus:g} GPUs")
        fitting, wanted = cluster.fitting(nodes, resources), cluster.trial_text(resources)
        if not fitting:
            yield Finding(
                "trials",
                "wrong",
                f"{wanted} fits on no node; use a smaller --gpus-per-trial, or add a node",
            )
        elif not resources.gpus_per_trial and any(node.gpus for node in nodes):
            yield Finding(
                "trials", "note", f"{wanted} uses no GPU, but the cluster has GPUs; use them with --gpus-per-trial 1"
            )
        else:
            yield Finding("trials", "ok", f"{wanted} fits on {len(fitting)} of {len(nodes)} nodes")
        yield from _nodes_agree(runs.storage_of(experiment))


def _nodes_agree(storage: Storage) -> Iterator[Finding]:
    try:
        problems = cluster.storage_problems(storage)
    except InvalidInput:
        return  # the check of this machine has reported it already
    for node, problem in problems.items():
        yield Finding("storage", "wrong", f"seen from {node.address}: {problem}; use a storage that all nodes share")
    if not problems:
        yield Finding("storage", "ok", "the same on every node")
    here = _installed()
    for node, there in cluster.on_every_node(_installed).items():
        if isinstance(there, Exception):
            yield Finding("node", "wrong", f"{node.address} does not answer: {first_line(there)}")
        elif there != here:
            other = ", ".join(f"{name} {there[name]}" for name in here if there[name] != here[name])
            yield Finding(
                "node", "wrong", f"{node.address} has {other}, unlike this machine; use the same image everywhere"
            )


def _installed() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in SHOWN}
