"""What `dvar tune` prints about a study below its table, as lines of console markup."""

from collections.abc import Iterator, Sequence
from statistics import fmean

from orchestrator.recordings.recording import Recording
from orchestrator.replay.quality import quality_curve, score_noise
from orchestrator.report.console.markup import escape
from orchestrator.report.console.tables import StrategyRow
from orchestrator.study.adaptivity import Adaptivity, adaptivity
from orchestrator.study.objective import MEAN_LCB, Objective
from orchestrator.study.recommendation import FIXED, LEAST_CONCEPTS, PER_IMAGE, Comparison, recommended
from orchestrator.study.result import StudyResult, TrialResult
from orchestrator.study.robustness import Robustness


def percent(share: float) -> str:
    """Format a share, 0..1, as a number of percent without trailing zeros."""
    return f"{100 * share:.3g}"


def promise(objective: Objective, concepts: int) -> str:
    """Return in a sentence what a choice on a number of tuning concepts promises for new ones.

    Raises:
        InvalidInput: the number of concepts cannot carry it.
    """
    target, metric = f"{percent(objective.quality_kept)} %", escape(objective.metric)
    if objective.is_reliable:
        risk, failures = objective.risk_with(concepts), objective.allowed_failures(concepts)
        may = f"at most {failures} of these {concepts} may" if failures else f"none of these {concepts} may"
        least = percent(1 / (concepts + 1))
        return (
            f"reliable: of new concepts like these at most {percent(risk)} % keep less than {target} of their best "
            f"{metric}, on average over choices; so {may}, for the setting and every later one (no choice on "
            f"{concepts} can promise fewer than {least} %)"
        )
    if objective.kind == MEAN_LCB:
        return (
            f"mean-lcb: the mean over these {concepts} concepts, less its standard error, keeps {target} of the best "
            f"{metric}; on new concepts about nine of ten such choices of a number of steps do, and fewer of two "
            "parameters"
        )
    return (
        f"mean: these {concepts} concepts keep {target} of the best {metric} on average, as in the paper; on new "
        "concepts about every second such choice keeps less"
    )


def best_lines(result: StudyResult) -> Iterator[str]:
    """Yield what the best setting needs and keeps; before it that none keeps enough, after it that it never stops."""
    best, metric = result.best, escape(result.objective.metric)
    if not best.is_feasible:
        yield (
            f"[yellow]no setting keeps {percent(result.objective.quality_kept)} % of the best {metric} as demanded; "
            "the following comes closest. Record a longer budget, or lower --keep.[/]"
        )
    saved = 100 * (1 - best.summary.share.mean)
    below = f", {round(best.share_below * len(best.kept))} of {len(best.kept)} concepts less than the target"
    yield (
        f"best: [bold]{escape(str(best.criterion))}[/] needs {best.iterations:.1f} of {result.budget} steps (saves "
        f"{saved:.1f} %) and keeps {100 * best.quality_kept:.1f} % of the best {metric}"
        f"{below if result.objective.is_reliable else ''}"
    )
    yield from _never_stops(best)
    if result.sampled is not None:
        yield f"DVAR's plane was searched exactly: {_regret(result, result.sampled)}"


def _regret(result: StudyResult, sampled: TrialResult) -> str:
    if not sampled.is_feasible:
        return "the sampler found no setting that keeps enough"
    regret = sampled.cost - next(each.cost for each in result.best_of_each() if each.name == "dvar")
    return f"the sampler's best setting costs {regret:.1f} steps more than the optimum"


def noise_lines(recordings: Sequence[Recording], metric: str) -> Iterator[str]:
    """Yield how noisy a single score is, as a share of the best; nothing where too few scores say so.

    Args:
        recordings: complete ones.
        metric: one of the recordings'.
    """
    pairs = [(recording, score_noise(recording, metric)) for recording in recordings]
    known = [(noise, noise.std / quality_curve(recording, metric).best) for recording, noise in pairs if noise]
    if not known:
        return
    repeated = sum(noise.source == "repeated" for noise, _ in known)
    if repeated == len(known):
        source = "measured by scoring the same weights repeatedly"
    else:
        some = f"measured by repeated scores on {repeated}, else " if repeated else ""
        source = f"{some}estimated from the scatter of snapshots"
    yield (
        f"noise of a single score of {escape(metric)}: {percent(fmean(share for _, share in known))} % of the best, "
        f"mean over {len(known)} recordings, {source}"
    )


def _never_stops(best: TrialResult) -> Iterator[str]:
    never = sum(outcome.stop_step >= outcome.budget for outcome in best.outcomes)
    if never == len(best.outcomes):
        yield (
            "[yellow]this setting never stops: it uses the whole budget on every tuning concept, and saves nothing. "
            "Record a longer budget, in which quality stops rising, or lower --keep.[/]"
        )
    elif never:
        yield f"[yellow]it never stops {never} of these {len(best.outcomes)} runs, which use the whole budget[/]"


def verdict_lines(result: StudyResult, unit: str) -> Iterator[str]:
    """Yield which setting to use, and for each rule whether it really beats a fixed number of steps.

    Args:
        result: of a study.
        unit: of its cost, "steps" or "s".
    """
    fixed = next((each for each in (*result.best_of_each(), *result.references) if each.name == FIXED), None)
    rules = [each for each in result.best_of_each() if each.name not in (FIXED, PER_IMAGE)]
    for rule in rules:
        yield from _about_rule(result, rule, unit)
    if fixed is None or not fixed.is_feasible:
        return
    use = recommended([fixed, *rules], result.comparisons)
    if use.name != FIXED:
        yield f"[bold]verdict: use {escape(str(use.criterion))}[/]; its saving is no matter of chance"
    else:
        rest = "no rule that was searched is really cheaper" if rules else "it needs no L_det"
        yield f"[bold]verdict: use a fixed number of {fixed.iterations:.0f} steps[/]; {rest}"
    if use.name != result.name:
        yield (
            f"[yellow]the file holds {escape(str(result.best.criterion))}, as that is what was searched; `dvar run "
            f"--criterion {use.name}` takes the other[/]"
        )
    if result.objective.is_reliable and len(rules) > 1 and use.name != FIXED:
        yield "[yellow]the promise holds for each rule by itself, and for the cheapest of several not quite[/]"


def _about_rule(result: StudyResult, rule: TrialResult, unit: str) -> Iterator[str]:
    comparison = result.comparisons.get(rule.name)
    name = escape(str(rule.criterion))
    if comparison is None:
        is_few = len(rule.kept) < LEAST_CONCEPTS
        why = "these concepts are too few" if is_few else "too little is kept"
        yield f"{name}: {why} to compare it with a fixed number of steps"
    else:
        yield f"{name}: {_compared(comparison, unit)}"
    if len(rule.kept) > 1:  # the stop on a single concept cannot vary
        yield from _adaptivity_lines(adaptivity(rule, result.needed_steps))


def _adaptivity_lines(looks: Adaptivity) -> Iterator[str]:
    line = "" if looks.line_stop is None else f" (N / sqrt(alpha) = {looks.line_stop:.0f})"
    spread = f"its stops spread by {percent(looks.spread)} % over concepts"
    if looks.acts_as_fixed:
        yield f"  it acts as a fixed number of about {looks.median_stop:.0f} steps{line}: {spread}"
    elif not looks.follows_needs:
        yield (
            f"  it does not adapt{line}: {spread}, but not with what these need (rank correlation "
            f"{looks.correlation:+.2f})"
        )


def _compared(comparison: Comparison, unit: str) -> str:
    rule, fixed = comparison.rule, comparison.fixed
    interval = (
        f"on concepts left out of both choices it saves {percent(comparison.saving)} % "
        f"({percent(comparison.level)} % interval {percent(comparison.low)} to {percent(comparison.high)})"
    )
    costs = f"{rule.cost:.1f} {unit} against {fixed.cost:.1f} of the fixed number"
    return f"{costs}; {interval}: {_meaning(comparison)}"


def _meaning(comparison: Comparison) -> str:
    if comparison.is_real:
        return "a real saving"
    return "it costs more" if comparison.high < 0 else "no more than chance"


def pays_lines(rows: Sequence[StrategyRow], fixed_name: str) -> Iterator[str]:
    """Yield in plain words whether each tuned rule saves seconds against the tuned fixed number of steps.

    Args:
        rows: strategies on concepts that had no part in their choice.
        fixed_name: of the row of the fixed number; without such a row, or without seconds, nothing is said.
    """
    by_name = {row.name: row.summary for row in rows}
    fixed = by_name.get(fixed_name)
    if fixed is None or fixed.seconds is None or fixed.quality_kept is None:
        return
    for name, summary in by_name.items():
        is_rule = name.endswith(", tuned") and name != fixed_name
        if is_rule and summary.seconds is not None and summary.quality_kept is not None:
            more = summary.seconds.mean - fixed.seconds.mean
            points = 100 * (summary.quality_kept.mean - fixed.quality_kept.mean)
            costs = f"saves {-more:.1f} s" if more < 0 else f"costs {more:.1f} s more"
            yield (
                f"{escape(name)} {costs} per concept than the fixed number, with {points:+.1f} points of quality"
                f"{'' if more < 0 else ': it does not pay here'}"
            )


def robustness_lines(robustness: Robustness, unit: str) -> Iterator[str]:
    """Yield lines on how strongly the choice depends on the concepts on which it was made.

    Args:
        robustness: of the choice.
        unit: of its cost, "steps" or "s".
    """
    objective, cost, kept = robustness.objective, robustness.cost, robustness.quality_kept
    target = f"{percent(objective.quality_kept)} %"
    if not objective.is_reliable and (ranges := _ranges(robustness)):
        yield f"settings tried whose cost is within 5 % of the best: {ranges}"
    if kept.low == kept.high and not robustness.left_out:
        yield "[yellow]a single concept says nothing about others; tune on more[/]"
        return
    below = f"; {100 * robustness.resampled_below:.0f} of 100 sets keep less than {target}"
    costs = f"need {cost.low:.1f} to {cost.high:.1f} {unit}, and nine in ten " if cost.low < cost.high else ""
    yield (
        f"nine in ten resampled sets of these concepts {costs}keep {100 * kept.low:.1f} to {100 * kept.high:.1f} % on "
        f"average{'' if objective.is_reliable else below}"
    )
    if robustness.left_out:
        count = len(robustness.left_out)
        yield (
            f"leaving out the concept to which the setting is applied: {robustness.left_out_cost:.1f} {unit} and "
            f"{100 * robustness.left_out_quality:.1f} %, {round(robustness.left_out_below * count)} of {count} under "
            f"{target} (with it: {cost.mean:.1f} and {100 * kept.mean:.1f} %)"
        )
    if not objective.is_reliable and robustness.is_inconclusive:
        yield (
            f"[yellow]inconclusive: these concepts are too few, or too different, to expect {target} on others; tune "
            "on more concepts, or raise --keep[/]"
        )


def _ranges(robustness: Robustness) -> str:
    parts = [f"{escape(key)} {low:g} to {high:g}" for key, (low, high) in robustness.near_ranges.items() if low != high]
    return ", ".join(parts)
