"""The command `dvar`: parses, calls, prints. Everything heavy is imported where a command needs it."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import recordings
from orchestrator.cli.errors import errors_as_exit_codes, exit_with
from orchestrator.cli.flags import split_names, with_benchmark, with_experiment, with_search

if TYPE_CHECKING:
    from orchestrator.config.experiment import Experiment
    from orchestrator.criteria import Criterion

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


@app.command()
@with_experiment
def record(experiment: "Experiment") -> None:
    """Train every concept for its whole budget, and keep L_det and quality.

    One Ray Tune trial a concept. What is complete is not recorded again; what was interrupted goes on from its
    checkpoint. The recordings answer every later question about stopping without a GPU.

    Example: [b]dvar record --preset sd15 --concepts my-concepts/[/b]
    """
    from orchestrator.commands import record

    exit_with(record.record(experiment))


BestFile = Annotated[
    Path | None, typer.Option("--best", help="The file of the best setting; default: best.yaml in the storage.")
]


@app.command()
@with_search
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

    exit_with(tuning.tune(experiment, best))


@app.command()
@with_experiment
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

    exit_with(run.run(experiment, _criterion(window, threshold), best, every))


def _criterion(window: int | None, threshold: float | None) -> "Criterion | None":
    from orchestrator import criteria
    from trainables.errors import InvalidInput

    if window is None and threshold is None:
        return None
    if window is None or threshold is None:
        raise InvalidInput("give both --window and --threshold, or neither to use best.yaml")
    return criteria.load("dvar", window=window, threshold=threshold)


@app.command()
@with_experiment
def compare(experiment: "Experiment", best: BestFile = None) -> None:
    """Compare strategies on the test concepts: full budget, DVAR with the paper's setting, DVAR tuned.

    The figures come from replaying each strategy over the recordings, in measured seconds; live runs of
    `dvar run` are set beside them.

    Example: [b]dvar compare --storage dvar-runs[/b]
    """
    from orchestrator.commands import compare

    compare.compare(experiment, best)


@app.command()
@with_benchmark
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

    benchmark.benchmark(experiment, split_names(methods), split_names(names), csv)


@app.command()
@with_experiment
def demo(experiment: "Experiment") -> None:
    """Show all of it on the embedded miniature: record, tune, run, compare; a few minutes on two CPU cores."""
    from orchestrator.commands import demo

    exit_with(demo.demo(experiment))


@app.command()
def status(
    storage: Annotated[str, typer.Argument(help="Folder or URL for everything that is kept.")] = "dvar-runs",
) -> None:
    """Say what runs, what ended, at which step and why, and where the traceback of what failed is.

    Example: [b]dvar status s3://bucket/runs[/b]
    """
    from orchestrator.commands import status

    with errors_as_exit_codes():
        status.status(storage)


@app.command()
@with_experiment
def doctor(experiment: "Experiment") -> None:
    """Look at all that a run needs: versions, method, concepts, base model, storage, MLflow, and every node of Ray.

    Exit with 1 where something is wrong; what, and how to mend it, is said.

    Example: [b]dvar doctor --preset sd15 --address auto --storage s3://bucket/runs[/b]
    """
    from orchestrator.commands import doctor

    exit_with(doctor.doctor(experiment))


@app.command()
@with_experiment
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

    with errors_as_exit_codes():
        listing.concepts(split_names(only), write, size)


@app.command()
def methods() -> None:
    """List the personalization methods: what each trains, its budget, DVAR's N and alpha for it, and its recipes.

    A method is a file in trainables/methods, an entry point dvar_tune.methods of another distribution, or module:Class.
    One that cannot be loaded is named below the table, and the exit code is 1.
    """
    from orchestrator.commands import list as listing

    with errors_as_exit_codes():
        exit_with(listing.methods())


app.add_typer(recordings.app, name="recordings")


def main() -> None:
    """Run the command line; exit with 0 done, 1 failed, 2 wrong usage."""
    from orchestrator.cli.startup import ForeignPackageError, check_packages

    sys.path.append(os.getcwd())  # a method or criterion of one's own, as module:Class, may lie here
    try:
        check_packages()
    except ForeignPackageError as error:
        sys.exit(f"error: {error}")
    app()
