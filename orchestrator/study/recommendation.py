"""Which setting to use: a rule only where it really beats a fixed number of steps.

The comparison is paired, and made on concepts that had no part in either choice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.recordings.recording import Floats
from orchestrator.study.objective import Objective
from orchestrator.study.result import TrialResult
from trainables.errors import InvalidInput

Indices = NDArray[np.int64]

RESAMPLES, BATCH = 1000, 100
#: Share of the intervals that may exclude zero by chance, over all rules that are compared.
ERROR = 0.1
#: What needs no L_det: a number of steps, and a number of steps per image of the concept.
FIXED, PER_IMAGE = "few_iterations", "steps_per_image"
#: With fewer concepts a resample leaves out too few to say anything.
LEAST_CONCEPTS = 3


@dataclass(frozen=True)
class Comparison:
    """A rule against the fixed number of steps, each chosen by the same objective on the same concepts.

    Both are chosen anew on each of `RESAMPLES` resampled sets of concepts, and compared on the concepts that the set
    lacks; so the interval includes what the choice itself owes to chance.

    Attributes:
        rule: what was chosen of the rule's settings.
        fixed: the fixed number of steps that was chosen.
        saving: what the rule saves on left-out concepts, as a share of the fixed number's cost; negative where it costs
            more. The median over resamples.
        low: bound of the interval.
        high: bound of the interval.
        level: that the interval holds, 0..1; higher where several rules are compared (Bonferroni).
    """

    rule: TrialResult
    fixed: TrialResult
    saving: float
    low: float
    high: float
    level: float

    @property
    def is_real(self) -> bool:
        """Whether the interval lies above zero: the rule saves something, and not by chance."""
        return self.low > 0


def compare(
    objective: Objective,
    rule: Sequence[TrialResult],
    fixed: Sequence[TrialResult],
    *,
    rules: int = 1,
    seed: int = 0,
) -> Comparison | None:
    """Compare a rule with a fixed number of steps.

    Args:
        objective: by which both are chosen.
        rule: its settings, each with an outcome per concept, in the order that the objective demands.
        fixed: numbers of steps, likewise, on the same concepts.
        rules: how many rules are compared with the fixed number.
        seed: of the resampling.

    Returns:
        None where there are too few concepts to compare on, or either keeps too little with every setting.
    """
    of_rule, of_fixed = tables(rule), tables(fixed)
    chosen, fixed_chosen = objective.choose(*of_rule), objective.choose(*of_fixed)
    if chosen is None or fixed_chosen is None or of_rule[0].shape[1] < LEAST_CONCEPTS:
        return None
    low, median, high = saving_interval(objective, of_rule, of_fixed, error=ERROR / rules, seed=seed)
    return Comparison(rule[chosen], fixed[fixed_chosen], median, low, high, 1 - ERROR / rules)


def saving_interval(
    objective: Objective,
    rule: tuple[Floats, Floats],
    fixed: tuple[Floats, Floats],
    *,
    error: float = ERROR,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Return what a rule saves on concepts left out of both choices: lower bound, median and upper bound.

    Args:
        objective: by which both are chosen.
        rule: costs and shares of quality kept of its settings, shape (settings, concepts) each.
        fixed: likewise of the fixed numbers.
        error: share of resamples outside of the interval.
        resamples: number of resampled sets of concepts.
        seed: of the resampling.
    """
    concepts = rule[0].shape[1]
    drawn = np.random.default_rng(seed).integers(concepts, size=(resamples, concepts))
    is_left_out = ~(drawn[:, :, None] == np.arange(concepts)).any(axis=1)
    drawn, is_left_out = drawn[is_left_out.any(axis=1)], is_left_out[is_left_out.any(axis=1)]
    cost, fixed_cost = (
        np.concatenate([_costs(objective, *of_either, *batch) for batch in _batches(drawn, is_left_out)])
        for of_either in (rule, fixed)
    )
    low, median, high = np.quantile(1 - cost / fixed_cost, [error / 2, 0.5, 1 - error / 2])
    return float(low), float(median), float(high)


def _batches(drawn: Indices, is_left_out: NDArray[np.bool_]) -> Iterator[tuple[Indices, NDArray[np.bool_]]]:
    """Yield the resamples in parts: all settings on all resamples at once may not fit into memory."""
    for begin in range(0, len(drawn), BATCH):
        yield drawn[begin : begin + BATCH], is_left_out[begin : begin + BATCH]


def _costs(objective: Objective, costs: Floats, kept: Floats, drawn: Indices, is_left_out: NDArray[np.bool_]) -> Floats:
    """Return the mean cost on the concepts left out, of what is chosen on those drawn, shape (resamples,)."""
    chosen = objective.choose_each(costs[:, drawn], kept[:, drawn])
    # Where no setting keeps enough, the latest is taken, the first of an ordered family.
    chosen = np.where(chosen < 0, costs.mean(axis=1).argmax(), chosen)
    return np.asarray((costs[chosen] * is_left_out).sum(axis=1) / is_left_out.sum(axis=1))


def tables(results: Sequence[TrialResult]) -> tuple[Floats, Floats]:
    """Return costs and shares of quality kept of each setting on each concept, shape (settings, concepts) each.

    Raises:
        InvalidInput: the settings were tried on different concepts.
    """
    if len({result.concepts for result in results}) > 1:
        raise InvalidInput("the settings were tried on different concepts, and cannot be compared")
    return np.array([result.costs for result in results]), np.array([result.kept for result in results])


def compare_all(
    objective: Objective, by_name: Mapping[str, Sequence[TrialResult]], fixed: Sequence[TrialResult]
) -> dict[str, Comparison]:
    """Compare every rule that watches something with the fixed number of steps; see `compare`.

    Args:
        objective: by which all are chosen.
        by_name: settings of each rule.
        fixed: numbers of steps.
    """
    rules = {name: results for name, results in by_name.items() if name not in (FIXED, PER_IMAGE)}
    compared = {name: compare(objective, results, fixed, rules=len(rules)) for name, results in rules.items()}
    return {name: comparison for name, comparison in compared.items() if comparison is not None}


def recommended(best_of_each: Sequence[TrialResult], comparisons: Mapping[str, Comparison]) -> TrialResult:
    """Return the best setting, where a fixed number is only left for a rule that really saves something.

    Args:
        best_of_each: the best setting of each criterion that was searched, at least one.
        comparisons: of the rules with the fixed number.
    """
    best = min(best_of_each, key=lambda result: result.rank)
    fixed = next((result for result in best_of_each if result.name == FIXED and result.is_feasible), None)
    if fixed is None or best.name == FIXED:
        return best
    real = [result for result in best_of_each if result.name in comparisons and comparisons[result.name].is_real]
    return min((fixed, *real), key=lambda result: result.rank)
