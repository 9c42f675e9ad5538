"""The command `dvar`: parses, calls, prints. Heavy modules are imported only where a command needs them."""

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import recordings
from orchestrator.cli.errors import errors_as_exit_codes, exit_with
from orchestrator.cli.flags import split_names, with_benchmark, with_experiment, with_search
from orchestrator.signals import end_on_signals

if TYPE_CHECKING:
    from orchestrator.config.experiment import Experiment
    from orchestrator.criteria import Criterion

#: Columns below which the tables of the help would cut the names of flags; the terminal wraps its lines instead.
NARROWEST_HELP = 80
EPILOGUE = "Start with: dvar demo. For help on a command: dvar record --help."

app = typer.Typer(
    name="dvar",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    epilog=EPILOGUE,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Detect when a text-to-image personalization is done, and stop it there.\n\n"
        "The stopping criterion DVAR watches L_det, the loss on a fixed batch that is drawn once. [b]record[/b] trains "
        "concepts for the full budget and keeps L_det and quality; [b]tune[/b] replays criteria over these recordings "
        "to find the best window N and threshold alpha; [b]run[/b] personalizes other concepts and stops them live; "
        "[b]compare[/b] shows the strategies side by side. All runs are logged to MLflow."
    ),
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from importlib.metadata import PackageNotFoundError, version

        from orchestrator import __distribution__

        try:
            typer.echo(f"{__distribution__} {version(__distribution__)}")
        except PackageNotFoundError:
            typer.echo(f"{__distribution__}, a checkout that is not installed")
        raise typer.Exit


@app.callback()
def dvar(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Take the options that precede a command."""


@app.command()
@with_experiment
def record(experiment: "Experiment") -> None:
    """Train every concept for the full budget, and keep L_det and quality.

    Runs one Ray Tune trial per concept. Complete recordings are skipped; interrupted recordings resume from their
    checkpoint. The recordings answer every later question about stopping without a GPU.

    Example: [b]dvar record --preset sd15 --concepts my-concepts/[/b]
    """
    from orchestrator.commands import record

    exit_with(record.record(experiment))


BestFile = Annotated[
    Path | None, typer.Option("--best", help="File of the best setting; default: that of the method and budget.")
]


@app.command()
@with_search
def tune(
    experiment: "Experiment",
    best: BestFile = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="File of a setting to scale to another learning rate, with --rate-ratio."),
    ] = None,
    rate_ratio: Annotated[float | None, typer.Option(help="New learning rate over that of --from.")] = None,
) -> None:
    """Find the best setting of a stopping criterion by replaying recordings of the tuning concepts, or live.

    It looks for the fewest steps such that at most a share of new concepts (--risk) keeps less than 90 % of its best
    quality (--keep), and says plainly whether a rule really beats a fixed number of steps. The command prints the best
    setting with its neighbours, states how strongly it depends on these concepts, and writes it to
    best-METHOD-BUDGET.yaml in the storage. With --objective mean Optuna searches as in the paper.

    With --live, Ray Tune trains the tuning concepts under every setting, after full-length runs of these concepts
    have established the best quality. That takes many times as long; the same command resumes an interrupted search.

    With --from and --rate-ratio nothing is searched: the setting in a file is scaled to another learning rate of the
    same method, by what was measured of how the steps go with the rate.

    Example: [b]dvar tune --tuning 4 --criteria few_iterations,dvar,hall,ema[/b]
    """
    from orchestrator.commands import rate
    from orchestrator.commands import tune as tuning
    from trainables.errors import InvalidInput

    if source is not None and rate_ratio is not None:
        rate.scale_to_rate(experiment, source, rate_ratio, best)
        return
    if source is not None or rate_ratio is not None:
        raise InvalidInput("--from and --rate-ratio belong together: a setting's file, and the new rate over the old")
    exit_with(tuning.tune(experiment, best))


@app.command()
@with_experiment
def run(
    experiment: "Experiment",
    best: BestFile = None,
    criterion: Annotated[
        str | None, typer.Option(help="Criterion whose setting in --best is taken; default: the recommended one.")
    ] = None,
    window: Annotated[int | None, typer.Option(help="DVAR's window N in steps; overrides --best.")] = None,
    threshold: Annotated[float | None, typer.Option(help="DVAR's threshold alpha, 0..1; overrides --best.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Also run the concepts on which the setting was tuned.")] = False,
) -> None:
    """Personalize concepts, stop each when its criterion fires, and export the adapters.

    The setting comes from --best, else from what `dvar tune` wrote for the same method and budget, whose tuning
    concepts are left out; or from --window and --threshold, which run every concept.

    Example: [b]dvar run --concepts my-dog/ --window 310 --threshold 0.15 --preset sd15[/b]
    """
    from orchestrator.commands import run

    exit_with(run.run(experiment, _criterion(window, threshold, criterion), best, every, criterion))


def _criterion(window: int | None, threshold: float | None, name: str | None) -> "Criterion | None":
    from orchestrator import criteria
    from trainables.errors import InvalidInput

    if window is None and threshold is None:
        return None
    if window is None or threshold is None:
        raise InvalidInput("give both --window and --threshold, or neither to use the best setting")
    if name is not None:
        raise InvalidInput("--criterion takes a setting from --best; give it, or --window and --threshold")
    return criteria.load("dvar", window=window, threshold=threshold)


@app.command()
@with_experiment
def compare(experiment: "Experiment", best: BestFile = None) -> None:
    """Compare strategies on the test concepts: the full budget, DVAR with the paper's setting, DVAR tuned.

    The metrics come from replaying each strategy over the recordings, with measured seconds; live runs of
    `dvar run` are shown beside them. The tuned setting comes from --best, else from what `dvar tune` wrote for the same
    method and budget.

    Example: [b]dvar compare --storage dvar-runs[/b]
    """
    from orchestrator.commands import compare

    compare.compare(experiment, best)


@app.command()
@with_benchmark
def benchmark(
    experiment: "Experiment",
    methods: Annotated[str | None, typer.Option("--methods", help="Comma-separated names; default: all.")] = None,
    names: Annotated[
        str | None,
        typer.Option("--criteria", help="Comma-separated criteria; default: all with an ordered family."),
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Also write the criteria's metrics to this file.")] = None,
) -> None:
    """Benchmark every rule: choose it on random sets of each method's concepts, and apply it to the others.

    Uses the recordings that ship with the program (56 concepts of the miniature by six methods), or --recordings.
    Also shows how DVAR's setting for a method transfers to the other methods.

    --tuning is the number of concepts on which a choice is made (default 8), --risk what it promises. Give a criterion
    of your own as module:Class; its module must also define space, default_params and family.

    Example: [b]dvar benchmark --criteria dvar,my_criterion:MyCriterion --csv criteria.csv[/b]
    """
    from orchestrator.commands import benchmark

    benchmark.benchmark(experiment, split_names(methods), split_names(names), csv)


@app.command()
@with_experiment
def demo(experiment: "Experiment") -> None:
    """Record, tune, run and compare on the embedded miniature; takes a few minutes on two CPU cores."""
    from orchestrator.commands import demo

    exit_with(demo.demo(experiment))


@app.command()
def status(
    storage: Annotated[str, typer.Argument(help="Folder or URL that keeps everything.")] = "dvar-runs",
) -> None:
    """List the runs: which are training, which ended, at which step and why, and where their tracebacks are.

    Example: [b]dvar status s3://bucket/runs[/b]
    """
    from orchestrator.commands import status

    with errors_as_exit_codes():
        status.status(storage)


@app.command()
@with_experiment
def doctor(experiment: "Experiment") -> None:
    """Check everything that a run needs: versions, method, concepts, base model, storage, MLflow, every Ray node.

    Names each problem and how to fix it, and exits with 1 if there is any.

    Example: [b]dvar doctor --preset sd15 --address auto --storage s3://bucket/runs[/b]
    """
    from orchestrator.commands import doctor

    exit_with(doctor.doctor(experiment))


@app.command()
@with_experiment
def show(experiment: "Experiment") -> None:
    """Print the experiment as YAML, with every key and its value, ready for --experiment.

    Its settings are checked as `dvar tune` checks them; passwords in it are left out.

    Example: [b]dvar show --preset sd15 > my-experiment.yaml[/b]
    """
    from orchestrator.commands import show

    show.show(experiment)


@app.command()
def concepts(
    write: Annotated[
        Path | None, typer.Option("--write", help="Write each concept as a subfolder of PNG files.")
    ] = None,
    only: Annotated[str | None, typer.Option("--only", help="Comma-separated names; default: all.")] = None,
    size: Annotated[int, typer.Option("--size", help="Width and height of the written images in pixels.")] = 64,
) -> None:
    """List the concepts of the miniature, or write them as folders that any program can read.

    Example: [b]dvar concepts --write toys --only robot_1,duck_1 --size 256[/b]
    """
    from orchestrator.commands import list as listing

    with errors_as_exit_codes():
        listing.concepts(split_names(only), write, size)


@app.command()
def methods() -> None:
    """List the personalization methods: what each trains, its budget, its default N and alpha, and its recipes.

    A method is a file in trainables/methods, an entry point dvar_tune.methods of another distribution, or module:Class.
    Methods that cannot be loaded are listed below the table; the exit code is then 1.
    """
    from orchestrator.commands import list as listing

    with errors_as_exit_codes():
        exit_with(listing.methods())


app.add_typer(recordings.app, name="recordings")


def main() -> None:
    """Run the command line.

    The exit code is 0 for success, 1 for failure, 2 for wrong usage, and 128 + the number of a signal that ended it:
    130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP.
    """
    from orchestrator.cli.startup import ForeignPackageError, check_packages

    end_on_signals()
    sys.path.append(os.getcwd())  # the user's own method or criterion, given as module:Class, may lie here
    try:
        check_packages()
    except ForeignPackageError as error:
        sys.exit(f"error: {error}")
    if shutil.get_terminal_size().columns < NARROWEST_HELP:
        os.environ.setdefault("TERMINAL_WIDTH", str(NARROWEST_HELP))  # typer's; its tables cut what does not fit
    app(prog_name="dvar")
