"""`dvar demo`: records, tunes, runs and compares on the embedded miniature, and explains each step in a line."""

from orchestrator import runs
from orchestrator.commands.compare import compare_strategies
from orchestrator.commands.context import CommandContext
from orchestrator.commands.messages import say_caveats
from orchestrator.commands.record import make_recordings
from orchestrator.commands.run import run_live
from orchestrator.commands.tune import search_by_replay
from orchestrator.config.experiment import Experiment
from orchestrator.criteria import Criterion
from orchestrator.report.console.markup import escape
from orchestrator.report.figures.demo import demo_picture
from orchestrator.storage.atomic import replacing
from trainables.errors import InvalidInput

PICTURE = "demo.png"


def demo(experiment: Experiment) -> bool:
    """Record, tune, run and compare, explaining each step in a line; return whether every run ended well.

    Raises:
        InvalidInput: a concept, the base model, the storage, MLflow or the cluster cannot be used.
    """
    context = CommandContext.open(experiment, trains=True)
    context.say_concepts()
    _explain(context, "record", "train every concept once for the full budget, and keep L_det and quality")
    if not make_recordings(context):
        return False
    _explain(context, "tune", "replay stopping on recordings of the tuning concepts, and find the best setting")
    result = search_by_replay(context, context.recordings(context.split.tuning))
    _explain(context, "run", "personalize the other concepts, and stop each with what was chosen")
    for criterion in dict.fromkeys([result.best.criterion, *(best.criterion for best in result.best_of_each())]):
        try:
            runs.check_live(experiment, criterion)
        except InvalidInput as error:
            context.say(f"[yellow]not run live: {escape(str(error))}[/]")
            continue
        if not run_live(context, context.split.test, criterion):
            return False
    _explain(context, "compare", "what each strategy costs and keeps on concepts that the search never saw")
    compare_strategies(context)
    _draw(context, result.best.criterion)
    context.say("")
    say_caveats(context.console, [experiment])
    context.say_where_runs_are()
    return True


def _draw(context: CommandContext, criterion: Criterion) -> None:
    """Draw the samples of every test concept at the stop and at the full budget."""
    experiment, concepts = context.experiment, context.split.test
    picture = demo_picture(
        concepts,
        runs.recordings(experiment),
        runs.run_specs(experiment, concepts),
        runs.live_runs(experiment),
        runs.run_specs(experiment, concepts, criterion),
    )
    target = context.results_folder / PICTURE
    with replacing(target) as file:
        picture.save(file, format="PNG")
    context.say(f"\npicture of the concepts, their samples at the stop and at the full budget: {escape(str(target))}")


def _explain(context: CommandContext, command: str, text: str) -> None:
    context.say(f"\n[bold]dvar {command}[/] - {text}")
