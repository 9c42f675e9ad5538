"""Which setting to use: a rule only where it really beats a fixed number of steps.

The comparison is paired, and made on concepts that had no part in either choice.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.recordings.recording import Floats
from orchestrator.study.jackknife import GROUPS, jackknifed
from orchestrator.study.objective import Indices, Objective
from orchestrator.study.result import TrialResult
from trainables.errors import InvalidInput

#: Share of the intervals that may exclude zero by chance, over all rules that are compared.
ERROR = 0.1
#: What needs no L_det: a number of steps, and a number of steps per image of the concept.
FIXED, PER_IMAGE = "few_iterations", "steps_per_image"
FIXED_LABEL = "fixed number"
#: With fewer concepts the choices without two of them rest on a single one.
LEAST_CONCEPTS = 3


@dataclass(frozen=True)
class Comparison:
    """A rule against the fixed number of steps, each chosen by the same objective on the same concepts.

    For each concept both are chosen on all others, and what they cost it is compared; so neither has seen it. The
    interval is a jackknife of that over groups of concepts, with all choices made anew, so it includes what the choice
    itself owes to chance. On draws without a true difference it excludes zero in at most 5 of 100 cases; an oracle that
    knows what every concept needs is told from chance in 68 of 100 with 8 concepts, and in 75 to 82 with 24.

    Attributes:
        rule: what was chosen of the rule's settings.
        fixed: the fixed number of steps that was chosen.
        saving: what the rule saves on left-out concepts, as a share of the fixed number's cost; negative where it costs
            more.
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
) -> Comparison | None:
    """Compare a rule with a fixed number of steps.

    Args:
        objective: by which both are chosen.
        rule: its settings, each with an outcome per concept, in the order that the objective demands.
        fixed: numbers of steps, likewise, on the same concepts.
        rules: how many rules are compared with the fixed number.

    Returns:
        None where there are too few concepts to compare on, or either keeps too little with every setting.
    """
    of_rule, of_fixed = tables(rule), tables(fixed)
    chosen, fixed_chosen = objective.choose(*of_rule), objective.choose(*of_fixed)
    if chosen is None or fixed_chosen is None or of_rule[0].shape[1] < LEAST_CONCEPTS:
        return None
    low, saving, high = saving_interval(objective, of_rule, of_fixed, error=ERROR / rules)
    return Comparison(rule[chosen], fixed[fixed_chosen], saving, low, high, 1 - ERROR / rules)


def saving_interval(
    objective: Objective, rule: tuple[Floats, Floats], fixed: tuple[Floats, Floats], *, error: float = ERROR
) -> tuple[float, float, float]:
    """Return what a rule saves on concepts left out of both choices: lower bound, value and upper bound.

    Args:
        objective: by which both are chosen.
        rule: costs and shares of quality kept of its settings, shape (settings, concepts) each; at least
            `LEAST_CONCEPTS` concepts.
        fixed: likewise of the fixed numbers.
        error: share of such intervals that may miss the truth.
    """
    everyone = np.arange(rule[0].shape[1])
    groups = min(GROUPS, len(everyone))

    def log_ratio(concepts: Indices) -> float:
        costs = [_left_out_cost(objective, *of_either, concepts) for of_either in (rule, fixed)]
        return math.log(costs[0] / costs[1])

    without = [log_ratio(everyone[everyone % groups != group]) for group in range(groups)]
    ratio = jackknifed(log_ratio(everyone), without, error=error)
    return 1 - ratio.high, 1 - ratio.value, 1 - ratio.low


def _left_out_cost(objective: Objective, costs: Floats, kept: Floats, concepts: Indices) -> float:
    """Return the mean cost over concepts, each of what is chosen on the others."""
    others = np.array([np.delete(concepts, place) for place in range(len(concepts))])
    chosen = objective.at_most(others.shape[1]).choose_each(costs[:, others], kept[:, others])
    # Where no setting keeps enough, the latest is taken, the first of an ordered family.
    chosen = np.where(chosen < 0, costs.mean(axis=1).argmax(), chosen)
    return float(costs[chosen, concepts].mean())


def tables(results: Sequence[TrialResult]) -> tuple[Floats, Floats]:
    """Return costs and shares of quality kept of each setting on each concept, shape (settings, concepts) each.

    Raises:
        InvalidInput: the settings were tried on different concepts.
    """
    if len({result.concepts for result in results}) > 1:
        raise InvalidInput("the settings were tried on different concepts, and cannot be compared")
    return np.array([result.costs for result in results]), np.array([result.kept for result in results])


def watching(names: Sequence[str]) -> list[str]:
    """Return the criteria that are worth a live search: numbers of steps are replayed exactly, if others are named."""
    return [name for name in names if name not in (FIXED, PER_IMAGE)] or list(names)


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
