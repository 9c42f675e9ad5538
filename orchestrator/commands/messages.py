"""What several commands print: which runs failed, and whether live runs stop where a replay says."""

from collections.abc import Sequence

from rich.markup import escape

from orchestrator import runs
from orchestrator.commands.context import CommandContext
from orchestrator.criteria import Criterion
from orchestrator.recordings.recording import Recording
from orchestrator.replay.replay import Outcome, replay


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
