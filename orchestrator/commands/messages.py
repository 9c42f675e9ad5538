"""What several commands print: failed runs, whether live runs stop where a replay says, what the miniature is worth."""

from collections.abc import Sequence

from rich.console import Console

from orchestrator import runs
from orchestrator.commands.context import CommandContext
from orchestrator.config.experiment import Experiment
from orchestrator.criteria import Criterion
from orchestrator.recordings.recording import Recording
from orchestrator.replay.outcome import Outcome
from orchestrator.replay.replay import replay
from orchestrator.report.console.markup import escape
from trainables.settings import MINIATURE, OF_THE_MINIATURE


def say_results(context: CommandContext, results: Sequence[runs.RunResult], folder: str) -> bool:
    """Print which runs failed and how many are done; return whether all are done."""
    failed = [result for result in results if not result.is_good]
    say_failed(context, failed)
    what = "concepts" if len({result.spec.concept for result in results}) == len(results) else "runs"
    context.say(f"{len(results) - len(failed)} of {len(results)} {what} done, in {escape(folder)}")
    return not failed


def say_failed(context: CommandContext, failed: Sequence[runs.RunResult]) -> None:
    """Print each run that failed, did not finish or was never begun, with its step and the reason."""
    for result in failed:
        word = "unfinished" if result.state == "running" else "failed" if result.has_failed else "not begun"
        name = escape(context.run_name(result.spec.concept, result.spec.identity.seed))
        context.say(f"[red]{word}[/] {name} after {result.steps} steps: {escape(result.reason)}")


def say_agreement(
    context: CommandContext,
    live: Sequence[Outcome],
    recordings: Sequence[Recording],
    criterion: Criterion,
    metric: str,
) -> None:
    """Print on how many concepts a live run stopped at the same step as the criterion's replay.

    Args:
        context: prints.
        live: outcomes of live runs.
        recordings: the full-length recording of each of their concepts, with the live runs' seed.
        criterion: that stopped the live runs.
        metric: the quality metric that counts.
    """
    if not live:
        if criterion.decides_by_step:
            context.say("no live runs of this setting yet: `dvar run` starts them")
        return
    replayed = {recording.concept: replay(criterion, recording, metric).stop_step for recording in recordings}
    same = sum(replayed[outcome.concept] == outcome.stop_step for outcome in live)
    context.say(f"live and replayed stop at the same step: {same} of {len(live)} concepts")


def say_caveats(console: Console, sources: Sequence[Recording | Experiment]) -> None:
    """Print that results made with the miniature, or scored by it, say nothing about other models and images.

    Args:
        console: prints.
        sources: the recordings or experiments of the results.
    """
    models = [_models(source) for source in sources]
    on_miniature = [base_model == MINIATURE for base_model, _ in models]
    if all(on_miniature):
        console.print(OF_THE_MINIATURE, soft_wrap=True)
        return
    if any(on_miniature):
        console.print(OF_THE_MINIATURE.replace("All", "Some", 1), soft_wrap=True)
    if any(scorer == MINIATURE for base_model, scorer in models if base_model != MINIATURE):
        console.print(
            "The quality is scored by the miniature's CLIP, which knows only rendered toys; choose a CLIP model with "
            "--set quality.scorer=openai/clip-vit-base-patch32",
            soft_wrap=True,
        )


def _models(source: Recording | Experiment) -> tuple[str, str]:
    """Return the ids of the base model and of the scorer; the latter is empty if unknown."""
    if isinstance(source, Experiment):
        return source.base_model.id, source.quality.scorer
    quality = source.identity.to_json().get("quality")
    return source.identity.base_model, str(quality.get("scorer", "")) if isinstance(quality, dict) else ""
