"""The flags that several commands share, and the experiment that their values describe."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from typer.models import OptionInfo

from orchestrator.cli.errors import errors_as_exit_codes

if TYPE_CHECKING:
    from orchestrator.config.experiment import Experiment

_PANEL = "What to run"

F = TypeVar("F", bound=Callable[..., None])


@dataclass(frozen=True)
class Flag:
    """A flag that several commands have.

    Attributes:
        kind: type of its value.
        option: how typer parses and documents it.
        key: dotted key of the experiment's value that it overrides; None if it overrides no single value.
        is_list: whether its text holds several comma-separated values.
    """

    kind: object
    option: OptionInfo
    key: str | None = None
    is_list: bool = False

    def value(self, given: object) -> object:
        """Return the value for the experiment.

        Args:
            given: as typer parsed it.

        Returns:
            A list of names if the flag holds several values, a count if `--tuning` got a number, else `given`.
        """
        if not self.is_list or not isinstance(given, str):
            return given
        is_count = self.key == "concepts.tuning" and given.isdecimal() and len(given) < 10
        return int(given) if is_count else split_names(given)


def _shared(*names: str, help: str) -> OptionInfo:
    option: OptionInfo = typer.Option(*names, help=help, rich_help_panel=_PANEL, show_default=False)
    return option


def _search(*names: str, help: str, show_default: bool = True) -> OptionInfo:
    option: OptionInfo = typer.Option(*names, help=help, show_default=show_default)
    return option


#: The flags of every command that works on an experiment.
SHARED: Mapping[str, Flag] = {
    "preset": Flag(
        str | None,
        _shared("--preset", "-p", help="Initial values: miniature (default), benchmark or sd15."),
    ),
    "file": Flag(
        Path | None, _shared("--experiment", "-e", help="YAML file with any of the keys that `dvar show` prints.")
    ),
    "concepts": Flag(
        str | None,
        _shared("--concepts", "-c", help="Folder of concept folders, a single concept folder, or 'miniature'."),
        "concepts.source",
    ),
    "only": Flag(
        str | None, _shared("--only", help="Comma-separated names of concepts to use."), "concepts.only", is_list=True
    ),
    "tuning": Flag(
        str | None,
        _shared("--tuning", help="Tuning concepts: their number or comma-separated names. The others test."),
        "concepts.tuning",
        is_list=True,
    ),
    "base_model": Flag(
        str | None,
        _shared("--base-model", "-b", help="'miniature', a folder in diffusers format, or a hub id."),
        "base_model.id",
    ),
    "method": Flag(
        str | None, _shared("--method", "-m", help="Personalization method, or module:Class."), "method.name"
    ),
    "recipe": Flag(
        str | None, _shared("--recipe", help="Recipe of the method; `dvar methods` lists them."), "method.recipe"
    ),
    "budget": Flag(int | None, _shared("--budget", help="Optimizer steps of a full-length run."), "budget"),
    "seed": Flag(int | None, _shared("--seed", help="Seed of the training."), "seed"),
    "seeds": Flag(
        str | None,
        _shared("--seeds", help="Comma-separated seeds: full-length runs use each, live runs the first."),
        "seeds",
        is_list=True,
    ),
    "max_concurrent": Flag(
        int | None,
        _shared("--max-concurrent", help="Most concepts trained at once; default: as many as fit on the cluster."),
        "resources.max_concurrent",
    ),
    "gpus_per_trial": Flag(
        float | None,
        _shared("--gpus-per-trial", help="GPUs per trial, which trains one concept; with 0.5, two share a GPU."),
        "resources.gpus_per_trial",
    ),
    "address": Flag(
        str | None,
        _shared(
            "--address", help="Running Ray cluster: host:port or auto; default: RAY_ADDRESS, else a new local cluster."
        ),
        "resources.address",
    ),
    "storage": Flag(str | None, _shared("--storage", "-s", help="Folder or URL that keeps everything."), "storage"),
    "set": Flag(
        list[str] | None,
        _shared("--set", help="Any other value, as in --set quality.every=50 (repeatable; keys as in `dvar show`)."),
    ),
}

#: The further flags of a search.
SEARCH: Mapping[str, Flag] = {
    "trials": Flag(
        int | None, _search("--trials", help="Settings that a sampler tries (default 200; 30 live)."), "study.trials"
    ),
    "live": Flag(
        bool | None,
        _search(
            "--live/--replay", help="Train under every setting, or replay recordings (default).", show_default=False
        ),
        "study.live",
    ),
    "objective": Flag(
        str | None,
        _search(
            "--objective",
            help="What new concepts must keep: reliable (default: the target, but for a share of them), mean-lcb or "
            "mean (the paper's).",
        ),
        "study.objective",
    ),
    "risk": Flag(
        float | None,
        _search("--risk", help="Share of new concepts that may keep less (default 0.25, or the least possible)."),
        "study.risk",
    ),
    "keep": Flag(
        float | None,
        _search("--keep", help="The target: share of the best quality to keep (default 0.9)."),
        "study.quality_kept",
    ),
    "criteria": Flag(
        str | None,
        _search("--criteria", help="Comma-separated criteria to search (default few_iterations,dvar)."),
        "study.criteria",
        is_list=True,
    ),
    "l_det": Flag(
        str | None,
        _search(
            "--l-det",
            help="L_det that criteria look at: paper, or stratified (cheaper; default where it is recorded).",
            show_default=False,
        ),
        "study.l_det",
    ),
    "measure": Flag(
        str | None, _search("--measure", help="Quality metric that counts (default train_clip_image)."), "study.measure"
    ),
    "cost": Flag(
        str | None, _search("--cost", help="Cost to minimize: iterations (default) or seconds."), "study.cost"
    ),
    "pareto": Flag(
        bool | None,
        _search("--pareto/--no-pareto", help="Treat cost and quality as two objectives.", show_default=False),
        "study.pareto",
    ),
    "recordings": Flag(
        str | None,
        _search("--recordings", help="Recordings to search on: 'builtin', a pack file, or another storage."),
        "study.recordings",
    ),
    "study_storage": Flag(
        str | None,
        _search("--study-storage", help="Where to keep the study: journal:FILE, sqlite:///FILE or a database URL."),
        "study.storage",
    ),
}

#: The flags of a benchmark: the recordings determine the method and the training.
BENCHMARK: Mapping[str, Flag] = {
    name: {**SHARED, **SEARCH}[name]
    for name in (
        "preset",
        "file",
        "tuning",
        "storage",
        "set",
        "objective",
        "risk",
        "keep",
        "l_det",
        "measure",
        "recordings",
    )
}


def with_experiment(function: F) -> F:
    """Give a command the shared flags; its first argument becomes the experiment that they describe."""
    return _with_flags(function, SHARED)


def with_search(function: F) -> F:
    """Give a command the shared flags and the flags of a search; see `with_experiment`."""
    return _with_flags(function, {**SHARED, **SEARCH})


def with_benchmark(function: F) -> F:
    """Give a command the flags that a benchmark accepts; see `with_experiment`."""
    return _with_flags(function, BENCHMARK)


def _with_flags(function: F, flags: Mapping[str, Flag]) -> F:
    own = list(inspect.signature(function).parameters.values())[1:]
    shared = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[flag.kind, flag.option]
        )
        for name, flag in flags.items()
    ]

    @functools.wraps(function)
    def command(**values: object) -> None:
        with errors_as_exit_codes():
            given = {name: values.pop(name) for name in flags}
            function(_experiment(given, flags), **values)

    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + shared
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command  # type: ignore[return-value]


def _experiment(given: Mapping[str, object], flags: Mapping[str, Flag]) -> "Experiment":
    from orchestrator.config.load import build

    overrides = [
        (flag.key, flag.value(given[name])) for name, flag in flags.items() if flag.key and given[name] is not None
    ]
    texts = given["set"]
    overrides += [_assignment(text) for text in (texts if isinstance(texts, list) else ())]
    preset, file = given["preset"], given["file"]
    return build(str(preset) if preset else None, file if isinstance(file, Path) else None, overrides)


def _assignment(text: str) -> tuple[str, object]:
    """Return the key and the value of KEY=VALUE: YAML, but names separated by commas where a flag takes these."""
    from trainables import plain_yaml
    from trainables.errors import InvalidInput
    from trainables.text import quoted

    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InvalidInput(f"--set takes KEY=VALUE such as quality.every=50, got {quoted(text)}")
    try:
        loaded = plain_yaml.load(value)
    except InvalidInput as error:
        raise InvalidInput(f"--set {key}: {quoted(value)} is not understood: {error}") from error
    if loaded is None or isinstance(loaded, list | dict):
        return key, loaded
    flag = next((flag for flag in (*SHARED.values(), *SEARCH.values()) if flag.key == key and flag.is_list), None)
    # A single name that is quoted or looks like a number, too; quotes are YAML's.
    return key, flag.value(loaded if isinstance(loaded, str) else value) if flag else loaded


def split_names(text: str | None) -> list[str] | None:
    """Return the comma-separated names in a text, stripped and without empty ones; None for None."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]
