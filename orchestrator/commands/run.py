"""`dvar run`: personalizes concepts, stops each with a criterion, and exports the adapters."""

from collections.abc import Sequence
from pathlib import Path

from orchestrator import runs
from orchestrator.commands.context import CommandContext
from orchestrator.commands.messages import say_caveats, say_results
from orchestrator.config.experiment import Experiment
from orchestrator.criteria import Criterion
from orchestrator.report.console.markup import escape
from orchestrator.report.console.progress import run_bars
from trainables.data.concept import Concept
from trainables.errors import InvalidInput
from trainables.sums import SUMS_FILE, sums_text

ADAPTERS = "adapters"


def run(
    experiment: Experiment, criterion: Criterion | None, best: Path | None, every: bool, name: str | None = None
) -> bool:
    """Personalize concepts until a criterion stops them; return whether all ended well.

    Args:
        experiment: what to personalize.
        criterion: ends the runs; None takes the criterion of the best setting.
        best: the file of the best setting; see `CommandContext.open`.
        name: of the criterion whose setting in that file is taken; None takes the recommended one.
        every: whether to run the concepts on which the best setting was tuned, too.

    Raises:
        InvalidInput: a concept, the base model, the storage, MLflow, the cluster or the best setting cannot be used,
            or no concept is left.
    """
    context = CommandContext.open(experiment, best, trains=True)
    context.say_concepts()
    concepts: Sequence[Concept] = context.concepts
    if criterion is None:
        setting = context.read_best()
        criterion = setting.make_criterion() if name is None else setting.of_criterion(name)
        if not every:
            concepts = context.unseen(setting)
            if not concepts:
                raise InvalidInput("the setting was tuned on every concept; run them nevertheless with --all")
    is_good = run_live(context, concepts, criterion)
    say_caveats(context.console, [context.experiment])
    context.say_where_runs_are()
    return is_good


def run_live(context: CommandContext, concepts: Sequence[Concept], criterion: Criterion) -> bool:
    """Personalize concepts under a criterion and export their adapters; return whether every run ended well.

    Raises:
        InvalidInput: the criterion cannot stop live runs, or the storage or the cluster cannot be used.
    """
    runs.check_live(context.experiment, criterion)
    context.say(f"{escape(str(criterion))} on {len(concepts)} concepts, at most {context.experiment.budget} steps each")
    params = context.experiment.public() | {"criterion": repr(criterion)}
    with context.tracker.run("run", params) as parent, run_bars(context.console, "personalizing") as bars:
        results = runs.live(context.experiment, concepts, criterion, [parent, bars])
    for result in results:
        if result.is_good:
            folder = escape(_export(context, result))
            whole = ", the whole budget" if result.state == "complete" else ""
            context.say(f"{escape(result.spec.concept)}: {result.steps} steps{whole}, adapter in {folder}")
    _say_never_stopped(context, [result for result in results if result.state == "complete"], len(results))
    return say_results(context, results, runs.live_runs(context.experiment).url)


def _say_never_stopped(context: CommandContext, complete: Sequence[runs.RunResult], count: int) -> None:
    """Print that runs used their whole budget, and what to do about it."""
    if complete:
        context.say(
            f"[yellow]{len(complete)} of {count} runs were never stopped and used the whole budget; with a larger "
            "--budget they may stop, or `dvar tune` on concepts like these finds a setting that does[/]"
        )


def _export(context: CommandContext, result: runs.RunResult) -> str:
    """Return the folder of a run's adapter; in a local storage, a copy of it under `ADAPTERS`."""
    store = runs.live_runs(context.experiment)
    storage = runs.storage_of(context.experiment)
    if not storage.is_local:
        return store.folder(result.spec.identity)
    source = store.snapshot_folder(result.spec.key, result.steps)
    adapter = storage.at(ADAPTERS, Path(store.folder(result.spec.identity)).name)
    files = storage.at(ADAPTERS).files()
    name = Path(adapter.url).name
    stored = files.put_folder(name, source)
    hashes = {file: about.sha256 for file, about in stored.items() if about.sha256}
    files.write(f"{name}/{SUMS_FILE}", sums_text(hashes).encode())
    return adapter.url
