"""What `dvar tune` prints about a study below its table, as lines of console markup."""

from collections.abc import Iterator

from orchestrator.report.console.markup import escape
from orchestrator.study.result import StudyResult
from orchestrator.study.robustness import Robustness


def best_lines(result: StudyResult) -> Iterator[str]:
    """Yield what the best setting needs and keeps; before it that none keeps enough, after it that it never stops."""
    best, metric = result.best, escape(result.objective.metric)
    if not best.is_feasible:
        yield (
            f"[yellow]no setting keeps {100 * result.objective.quality_kept:g} % of the best {metric}; the following "
            "keeps the most. Record a longer budget, or lower --keep.[/]"
        )
    saved = 100 * (1 - best.summary.share.mean)
    yield (
        f"best: [bold]{escape(str(best.criterion))}[/] needs {best.iterations:.1f} of {result.budget} steps (saves "
        f"{saved:.1f} %) and keeps {100 * best.quality_kept:.1f} % of the best {metric}"
    )
    never = sum(outcome.stop_step >= outcome.budget for outcome in best.outcomes)
    if never == len(best.outcomes):
        yield (
            "[yellow]this setting never stops: it uses the whole budget on every tuning concept, and saves nothing. "
            "Record a longer budget, in which quality stops rising, or lower --keep.[/]"
        )
    elif never:
        yield f"[yellow]it never stops {never} of these {len(best.outcomes)} runs, which use the whole budget[/]"


def robustness_lines(robustness: Robustness, unit: str) -> Iterator[str]:
    """Yield lines on how strongly the choice depends on the concepts on which it was made.

    Args:
        robustness: of the choice.
        unit: of its cost, "steps" or "s".
    """
    cost, kept, target = robustness.cost, robustness.quality_kept, f"{100 * robustness.wanted:g} %"
    if ranges := _ranges(robustness):
        yield f"settings tried whose cost is within 5 % of the best: {ranges}"
    if not robustness.left_out:
        yield "[yellow]a single concept says nothing about others; tune on more[/]"
        return
    yield (
        f"nine in ten resampled sets of these concepts need {cost.low:.1f} to {cost.high:.1f} {unit}, and nine in ten "
        f"keep {100 * kept.low:.1f} to {100 * kept.high:.1f} %; {100 * robustness.risk:.0f} of 100 sets keep less than "
        f"{target}"
    )
    yield (
        f"leaving out the concept to which the setting is applied: {robustness.left_out_cost:.1f} {unit} and "
        f"{100 * robustness.left_out_quality:.1f} % (with it: {cost.mean:.1f} and {100 * kept.mean:.1f})"
    )
    if robustness.is_inconclusive:
        yield (
            f"[yellow]inconclusive: these concepts are too few, or too different, to expect {target} on others; tune "
            "on more concepts, or raise --keep[/]"
        )


def _ranges(robustness: Robustness) -> str:
    parts = [f"{escape(key)} {low:g} to {high:g}" for key, (low, high) in robustness.near_ranges.items() if low != high]
    return ", ".join(parts)
