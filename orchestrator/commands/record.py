"""`dvar record`: trains every concept for the full budget, and reports how each run ended."""

from orchestrator import runs
from orchestrator.commands.context import CommandContext
from orchestrator.commands.messages import say_results
from orchestrator.config.experiment import Experiment
from orchestrator.report.console.progress import run_bars


def record(experiment: Experiment) -> bool:
    """Record every concept for the full budget; return whether all recordings are complete.

    Raises:
        InvalidInput: a concept, the method, the base model, the storage, MLflow or the cluster cannot be used.
    """
    context = CommandContext.open(experiment, trains=True)
    context.say_concepts()
    is_good = make_recordings(context)
    context.say_where_runs_are()
    return is_good


def make_recordings(context: CommandContext) -> bool:
    """Record every concept of a context with every seed; return whether all recordings are complete."""
    results: list[runs.RunResult] = []
    for experiment in context.experiments:
        verb = f"recording seed {experiment.seed} of" if len(context.experiments) > 1 else "recording"
        with context.tracker.run("record", experiment.public()) as parent, run_bars(context.console, verb) as bars:
            results += runs.record(experiment, context.concepts, [parent, bars])
    known = sum(not result.is_new for result in results)
    if known:
        context.say(f"{known} of {len(results)} were already complete and were not recorded again")
    return say_results(context, results, runs.recordings(context.experiment).url)
