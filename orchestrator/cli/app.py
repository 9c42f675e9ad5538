"""The command `dvar`: parses, calls, prints. Everything heavy is imported where a command needs it."""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from orchestrator.config.experiment import Experiment
    from orchestrator.criteria import Criterion

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130
EPILOGUE = "Start with: dvar demo. Every command explains itself: dvar record --help."

app = typer.Typer(
    name="dvar",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    epilog=EPILOGUE,
    pretty_exceptions_enable=False,
    help=(
        "Find out when a text-to-image personalization is done, and stop it there.\n\n"
        "A stopping rule (DVAR) watches L_det, the loss on a batch that is drawn once. [b]record[/b] trains concepts "
        "for their whole budget and keeps L_det and quality; [b]tune[/b] replays rules over these recordings and "
        "finds the best window N and threshold alpha; [b]run[/b] personalizes other concepts and stops them live; "
        "[b]compare[/b] sets the strategies side by side. All runs are kept in MLflow."
    ),
)

_SETTINGS = "What to run"


def _option(*names: str, help: str) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=_SETTINGS, show_default=False)


# The flags that every command understands, with the key of the experiment that each overrides.
_SHARED: dict[str, tuple[str | None, Any, Any]] = {
    "preset": (
        None,
        str | None,
        _option("--preset", "-p", help="Where values start: miniature (default), benchmark or sd15."),
    ),
    "file": (None, Path | None, _option("--experiment", "-e", help="YAML file with any of the keys of `dvar show`.")),
    "concepts": (
        "concepts.source",
        str | None,
        _option("--concepts", "-c", help="Folder of concept folders, one concept folder, or 'miniature'."),
    ),
    "only": ("concepts.only", str | None, _option("--only", help="Names of the concepts to use, with commas.")),
    "tuning": (
        "concepts.tuning",
        str | None,
        _option("--tuning", help="Concepts that tune: how many, or their names with commas. The others test."),
    ),
    "base_model": (
        "base_model.id",
        str | None,
        _option("--base-model", "-b", help="'miniature', a folder in diffusers' format, or a hub id."),
    ),
    "method": ("method.name", str | None, _option("--method", "-m", help="Personalization method, or module:Class.")),
    "recipe": (
        "method.recipe",
        str | None,
        _option("--recipe", help="A recipe of the method; `dvar methods` lists them."),
    ),
    "budget": ("budget", int | None, _option("--budget", help="Optimizer steps of a full-length run.")),
    "seed": ("seed", int | None, _option("--seed", help="Seed of training.")),
    "seeds": (
        "seeds",
        str | None,
        _option("--seeds", help="Several seeds, with commas: full-length runs of each; live runs take the first."),
    ),
    "max_concurrent": (
        "resources.max_concurrent",
        int | None,
        _option("--max-concurrent", help="Concepts at once at most; default: as many as the cluster has room for."),
    ),
    "gpus_per_trial": (
        "resources.gpus_per_trial",
        float | None,
        _option("--gpus-per-trial", help="GPUs of a concept's trial; 0.5 lets two share one."),
    ),
    "address": (
        "resources.address",
        str | None,
        _option(
            "--address", help="A running Ray cluster: host:port, or auto; default: RAY_ADDRESS, else one of its own."
        ),
    ),
    "storage": ("storage", str | None, _option("--storage", "-s", help="Folder or URL for everything that is kept.")),
    "set": (
        None,
        list[str] | None,
        _option("--set", help="Any other value: --set quality.every=50 (repeatable; keys as in `dvar show`)."),
    ),
}

# The further flags of a search.
_SEARCH: dict[str, tuple[str | None, Any, Any]] = {
    "trials": ("study.trials", int | None, typer.Option(help="Settings to try in all (default 200; 30 live).")),
    "live": (
        "study.live",
        bool | None,
        typer.Option(
            "--live/--replay", help="Train every setting, or replay recordings (default).", show_default=False
        ),
    ),
    "keep": (
        "study.quality_kept",
        float | None,
        typer.Option(help="Mean share of the best quality to keep (default 0.9)."),
    ),
    "criteria": ("study.criteria", str | None, typer.Option(help="Criteria to search, with commas (default dvar).")),
    "measure": ("study.measure", str | None, typer.Option(help="The quality that counts (default train_clip_image).")),
    "cost": ("study.cost", str | None, typer.Option(help="What is saved: iterations (default) or seconds.")),
    "pareto": (
        "study.pareto",
        bool | None,
        typer.Option("--pareto/--no-pareto", help="Search cost and quality as two objectives.", show_default=False),
    ),
    "recordings": (
        "study.recordings",
        str | None,
        typer.Option(help="Search on these: 'builtin', a pack's file, or another storage."),
    ),
    "study_storage": (
        "study.storage",
        str | None,
        typer.Option(help="Keep the study: journal:FILE, sqlite:///FILE or a database's URL."),
    ),
}

# Those of them that a benchmark understands: the method and what is trained are the recordings'.
_BENCHMARK = {
    name: (_SHARED | _SEARCH)[name]
    for name in ("preset", "file", "tuning", "storage", "set", "trials", "keep", "measure", "cost", "recordings")
}

F = TypeVar("F", bound=Callable[..., None])


def _with_search(function: F) -> F:
    """Give a command the shared flags and those of a search; see `_with_experiment`."""
    return _with_experiment(function, _SHARED | _SEARCH)


def _with_benchmark(function: F) -> F:
    """Give a command the flags of a benchmark; see `_with_experiment`."""
    return _with_experiment(function, _BENCHMARK)


def _with_experiment(function: F, flags_of: dict[str, tuple[str | None, Any, Any]] = _SHARED) -> F:
    """Give a command flags, and hand it the experiment that they make as its first argument."""
    own = list(inspect.signature(function).parameters.values())[1:]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option])
        for name, (_, kind, option) in flags_of.items()
    ]

    @functools.wraps(function)
    def command(**values: Any) -> None:
        with _errors_as_exit_codes():
            flags = {name: values.pop(name) for name in flags_of}
            function(_experiment(flags, flags_of), **values)

    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + shared
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command  # type: ignore[return-value]


def _experiment(flags: dict[str, Any], flags_of: dict[str, tuple[str | None, Any, Any]]) -> "Experiment":
    from orchestrator.config.load import build

    overrides = [
        (key, _listed(name, flags[name])) for name, (key, _, _) in flags_of.items() if key and flags[name] is not None
    ]
    overrides += [_assignment(text) for text in flags["set"] or ()]
    return build(flags["preset"], flags["file"], overrides)


def _listed(name: str, value: Any) -> Any:
    if name not in ("only", "tuning", "criteria", "seeds"):
        return value
    if name == "tuning" and value.isdecimal():
        return int(value)
    return _names(value)


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def _assignment(text: str) -> tuple[str, Any]:
    import yaml

    from orchestrator.config import yaml as plain_yaml
    from trainables.errors import InvalidInput

    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InvalidInput(f"--set takes KEY=VALUE such as quality.every=50, got {text!r}")
    try:
        return key, plain_yaml.load(value)
    except yaml.YAMLError as error:
        raise InvalidInput(f"--set {key}: {value!r} is not understood: {error}") from error


@contextmanager
def _errors_as_exit_codes() -> Iterator[None]:
    from trainables.errors import InvalidInput

    try:
        yield
    except InvalidInput as error:
        _fail(str(error), WRONG_USAGE)
    except KeyboardInterrupt:
        _fail("interrupted; what was recorded is kept", INTERRUPTED)


def _fail(message: str, code: int) -> NoReturn:
    from rich.console import Console

    Console(stderr=True).print(f"[red]error:[/] {_plain(message)}", highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def _plain(message: str) -> str:
    from rich.markup import escape

    return escape(message)


def _exit(is_good: bool) -> None:
    if not is_good:
        raise typer.Exit(FAILED)


@app.command()
@_with_experiment
def record(experiment: "Experiment") -> None:
    """Train every concept for its whole budget, and keep L_det and quality.

    One Ray Tune trial a concept. What is complete is not recorded again; what was interrupted goes on from its
    checkpoint. The recordings answer every later question about stopping without a GPU.

    Example: [b]dvar record --preset sd15 --concepts my-concepts/[/b]
    """
    from orchestrator.commands import record

    _exit(record.record(experiment))


BestFile = Annotated[
    Path | None, typer.Option("--best", help="The file of the best setting; default: best.yaml in the storage.")
]


@app.command()
@_with_search
def tune(
    experiment: "Experiment",
    best: BestFile = None,
) -> None:
    """Find the best setting of a stopping criterion by replaying it over the tuning concepts' recordings, or live.

    Optuna searches for the fewest iterations that keep 90 % of the best quality (the paper's rule), starting from
    the paper's own setting. Prints the best setting with its neighbours, says how far it depends on these concepts, and
    writes it to best.yaml.

    With --live every setting is trained for real, on Ray Tune, once the full-length runs of the tuning concepts say
    what the best quality is. That takes many times as long, and what was cut off goes on with the same command.

    Example: [b]dvar tune --tuning 4 --trials 500 --criteria dvar,hall,ema[/b]
    """
    from orchestrator.commands import tune as tuning

    _exit(tuning.tune(experiment, best))


@app.command()
@_with_experiment
def run(
    experiment: "Experiment",
    best: BestFile = None,
    window: Annotated[int | None, typer.Option(help="DVAR's window N in steps, instead of best.yaml.")] = None,
    threshold: Annotated[float | None, typer.Option(help="DVAR's threshold alpha, 0..1, instead of best.yaml.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Also run the concepts that tuned the setting.")] = False,
) -> None:
    """Personalize concepts, stop each as soon as DVAR says it is done, and export what was learned.

    The setting comes from best.yaml (see `dvar tune`), whose own tuning concepts are left out, or from
    --window and --threshold, which run every concept.

    Example: [b]dvar run --concepts my-dog/ --window 310 --threshold 0.15 --preset sd15[/b]
    """
    from orchestrator.commands import run

    _exit(run.run(experiment, _criterion(window, threshold), best, every))


def _criterion(window: int | None, threshold: float | None) -> "Criterion | None":
    from orchestrator import criteria
    from trainables.errors import InvalidInput

    if window is None and threshold is None:
        return None
    if window is None or threshold is None:
        raise InvalidInput("give both --window and --threshold, or neither to use best.yaml")
    return criteria.load("dvar", window=window, threshold=threshold)


@app.command()
@_with_experiment
def compare(experiment: "Experiment", best: BestFile = None) -> None:
    """Compare strategies on the test concepts: full budget, DVAR with the paper's setting, DVAR tuned.

    The figures come from replaying each strategy over the recordings, in measured seconds; live runs of
    `dvar run` are set beside them.

    Example: [b]dvar compare --storage dvar-runs[/b]
    """
    from orchestrator.commands import compare

    compare.compare(experiment, best)


@app.command()
@_with_benchmark
def benchmark(
    experiment: "Experiment",
    methods: Annotated[str | None, typer.Option("--methods", help="Names, with commas; default: all.")] = None,
    names: Annotated[
        str | None,
        typer.Option("--criteria", help="Criteria to prove, with commas; default: all that can be searched."),
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write the criteria's figures here as well.")] = None,
) -> None:
    """Prove every criterion: tune it on each method's tuning concepts, apply it to the others.

    The recordings are those that come with the program (56 concepts of the miniature by six methods), or --recordings.
    Also shows what DVAR's setting of one method does to another.

    --trials are settings for each criterion and method. A criterion of your own is module:Class; its module has
    space and default_params, too.

    Example: [b]dvar benchmark --criteria dvar,my_rule:MyRule --csv rules.csv[/b]
    """
    from orchestrator.commands import benchmark

    benchmark.benchmark(experiment, _names(methods), _names(names), csv)


@app.command()
@_with_experiment
def demo(experiment: "Experiment") -> None:
    """Show all of it on the embedded miniature: record, tune, run, compare; a few minutes on two CPU cores."""
    from orchestrator.commands import demo

    _exit(demo.demo(experiment))


@app.command()
def status(
    storage: Annotated[str, typer.Argument(help="Folder or URL for everything that is kept.")] = "dvar-runs",
) -> None:
    """Say what runs, what ended, at which step and why, and where the traceback of what failed is.

    Example: [b]dvar status s3://bucket/runs[/b]
    """
    from orchestrator.commands import status

    with _errors_as_exit_codes():
        status.status(storage)


@app.command()
@_with_experiment
def doctor(experiment: "Experiment") -> None:
    """Look at all that a run needs: versions, method, concepts, base model, storage, MLflow, and every node of Ray.

    Exit with 1 where something is wrong; what, and how to mend it, is said.

    Example: [b]dvar doctor --preset sd15 --address auto --storage s3://bucket/runs[/b]
    """
    from orchestrator.commands import doctor

    _exit(doctor.doctor(experiment))


@app.command()
@_with_experiment
def show(experiment: "Experiment") -> None:
    """Print the experiment as YAML: every key, its value, ready for --experiment.

    Example: [b]dvar show --preset sd15 > my-experiment.yaml[/b]
    """
    from orchestrator.config import yaml as plain_yaml

    typer.echo(plain_yaml.dump(experiment.model_dump(mode="json")), nl=False)


@app.command()
def concepts(
    write: Annotated[Path | None, typer.Option("--write", help="Write them here, a folder of PNG each.")] = None,
    only: Annotated[str | None, typer.Option("--only", help="Names, with commas; default: all.")] = None,
    size: Annotated[int, typer.Option("--size", help="Side of the written images in pixels.")] = 64,
) -> None:
    """List the concepts of the miniature, or write them as folders that any program reads.

    Example: [b]dvar concepts --write toys --only robot_1,duck_1 --size 256[/b]
    """
    from orchestrator.commands import list as listing

    with _errors_as_exit_codes():
        listing.concepts(_names(only), write, size)


@app.command()
def methods() -> None:
    """List the personalization methods: what each trains, its budget, DVAR's N and alpha for it, and its recipes.

    A method is a file in trainables/methods, an entry point dvar_tune.methods of another distribution, or module:Class.
    One that cannot be loaded is named below the table, and the exit code is 1.
    """
    from orchestrator.commands import list as listing

    with _errors_as_exit_codes():
        _exit(listing.methods())


recordings = typer.Typer(
    no_args_is_help=True,
    help="Full-length recordings: list, show, pack into a file, unpack, verify. PLACE is a storage (default "
    "dvar-runs), a pack's file, or 'builtin'.",
)
app.add_typer(recordings, name="recordings")

Place = Annotated[str, typer.Argument(help="A storage's folder or URL, a pack's file, or 'builtin'.")]


@recordings.command(name="list")
def list_recordings(place: Place = "dvar-runs") -> None:
    """List recordings: concept, method, seed, budget, and the best quality."""
    from orchestrator.commands import recordings

    with _errors_as_exit_codes():
        recordings.list_recordings(place)


@recordings.command(name="show")
def show_recording(
    key: Annotated[str, typer.Argument(help="The beginning of a key, or a concept.")], place: Place = "dvar-runs"
) -> None:
    """Print what a recording was made with, and its course."""
    from orchestrator.commands import recordings

    with _errors_as_exit_codes():
        recordings.show_recording(key, place)


@recordings.command(name="export")
def export_recordings(
    target: Annotated[Path, typer.Argument(help="The pack to write, such as mine.parquet.")],
    place: Place = "dvar-runs",
    only: Annotated[str | None, typer.Option(help="Keys or concepts, with commas; default: all.")] = None,
    whole: Annotated[bool, typer.Option("--whole", help="Keep double precision: four times the size.")] = False,
) -> None:
    """Pack complete recordings into one small file, without samples and adapters.

    Example: [b]dvar recordings export mine.parquet dvar-runs --only robot_1,duck_1[/b]
    """
    from orchestrator.commands import recordings

    with _errors_as_exit_codes():
        recordings.export_recordings(target, place, _names(only), whole)


@recordings.command(name="import")
def import_recordings(
    pack: Annotated[str, typer.Argument(help="The pack to read, or 'builtin'.")],
    storage: Annotated[str, typer.Argument(help="The storage to write into.")] = "dvar-runs",
) -> None:
    """Write a pack's recordings into a storage, where `dvar tune` and `dvar compare` find them."""
    from orchestrator.commands import recordings

    with _errors_as_exit_codes():
        recordings.import_recordings(pack, storage)


@recordings.command(name="verify")
def verify_recordings(place: Place = "dvar-runs") -> None:
    """Read every recording whole, and compare it with its hashes; exit with 1 where one is damaged."""
    from orchestrator.commands import recordings

    with _errors_as_exit_codes():
        _exit(recordings.verify_recordings(place))


def main() -> None:
    """Run the command line; exit with 0 done, 1 failed, 2 wrong usage."""
    from orchestrator.cli.startup import ForeignPackageError, check_packages

    sys.path.append(os.getcwd())  # a method or criterion of one's own, as module:Class, may lie here
    try:
        check_packages()
    except ForeignPackageError as error:
        sys.exit(f"error: {error}")
    app()
