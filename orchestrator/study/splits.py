"""Random splits: a rule chosen on some concepts and applied to all others, many times over."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.criteria import Criterion
from orchestrator.recordings.recording import Floats
from orchestrator.study.jackknife import GROUPS, Ratio, jackknifed
from orchestrator.study.objective import Indices, Objective
from orchestrator.study.result import TrialResult, by_concept
from orchestrator.study.search_space import Params

#: Of splits for each group left out, as a share of all splits: a ratio's deviation needs fewer of them than its value.
GROUP_SPLITS = 3


@dataclass(frozen=True)
class FamilyTable:
    """The ordered settings of a rule on every concept of a method, from late stops to early ones.

    Attributes:
        label: of the rule, for tables.
        criteria: the settings, at least one.
        params: the same, parameter by parameter.
        steps: at the stop, shape (settings, concepts).
        seconds: until the stop, with what the rule itself costs, NaN where that is unknown; shape (settings, concepts).
        kept: share of the best quality, shape (settings, concepts).
    """

    label: str
    criteria: tuple[Criterion, ...]
    params: tuple[Params, ...]
    steps: Floats
    seconds: Floats
    kept: Floats

    @classmethod
    def of(cls, label: str, results: Sequence[TrialResult]) -> "FamilyTable":
        """Tabulate settings that were all replayed on the same recordings."""
        seconds = [
            by_concept(result.outcomes, "seconds")
            if all(outcome.seconds is not None for outcome in result.outcomes)
            else np.full(len(result.kept), np.nan)
            for result in results
        ]
        return cls(
            label=label,
            criteria=tuple(result.criterion for result in results),
            params=tuple(result.params for result in results),
            steps=np.array([by_concept(result.outcomes, "stop_step") for result in results]),
            seconds=np.array(seconds),
            kept=np.array([result.kept for result in results]),
        )

    @property
    def concepts(self) -> int:
        """Number of concepts."""
        return int(self.kept.shape[1])

    def choose(self, objective: Objective, columns: Indices) -> Indices:
        """Return which setting an objective chooses on each set of concepts; the latest where none keeps enough.

        Args:
            objective: by which the choice is made.
            columns: of the tuning concepts, shape (..., tuning concepts).

        Returns:
            Shape (...).
        """
        return np.maximum(0, objective.choose_each(self.steps[:, columns], self.kept[:, columns]))


@dataclass(frozen=True)
class Applied:
    """What a rule does on concepts that had no part in its choice: a value per split, shape (splits,) each.

    Attributes:
        below: share of the other concepts that keep less than the target.
        steps: mean optimizer steps on them.
        seconds: mean seconds on them, NaN where unknown.
        kept: mean share of the best quality on them.
    """

    below: Floats
    steps: Floats
    seconds: Floats
    kept: Floats

    @classmethod
    def joined(cls, parts: "Sequence[Applied]") -> "Applied":
        """Return the splits of several as those of one."""
        names = ("below", "steps", "seconds", "kept")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def where(self, use: NDArray[np.bool_], otherwise: "Applied") -> "Applied":
        """Return this where `use` says so, shape (splits,), and another elsewhere."""
        names = ("below", "steps", "seconds", "kept")
        return Applied(*(np.where(use, getattr(self, name), getattr(otherwise, name)) for name in names))


@dataclass(frozen=True)
class Splits:
    """Random splits of some concepts, the same for every rule, so that rules are compared on equal terms.

    Attributes:
        tuning: concepts on which a choice is made, shape (splits, tuning concepts).
        others: all others, shape (splits, other concepts).
    """

    tuning: Indices
    others: Indices

    @classmethod
    def draw(cls, concepts: Indices, tuning: int, count: int, seed: int) -> "Splits":
        """Draw splits.

        Args:
            concepts: to draw from, shape (concepts,).
            tuning: number of tuning concepts, fewer than all.
            count: number of splits.
            seed: of the draws.
        """
        order = np.random.default_rng(seed).permuted(np.tile(concepts, (count, 1)), axis=1)
        return cls(order[:, :tuning], order[:, tuning:])

    def apply(self, table: FamilyTable, chosen: Indices, objective: Objective) -> Applied:
        """Return what the settings that were chosen on the tuning concepts do on the others.

        Args:
            table: of the rule.
            chosen: settings, shape (splits,).
            objective: gives the target.
        """
        of_split = chosen[:, None]
        kept = table.kept[of_split, self.others]
        return Applied(
            below=objective.falls_below(kept).mean(axis=1),
            steps=table.steps[of_split, self.others].mean(axis=1),
            seconds=table.seconds[of_split, self.others].mean(axis=1),
            kept=kept.mean(axis=1),
        )


@dataclass(frozen=True)
class SplitSets:
    """Splits of all concepts, and of the concepts without each of some groups, from which intervals are made.

    Attributes:
        everyone: splits of all concepts.
        without: splits without each group of concepts.
    """

    everyone: Splits
    without: tuple[Splits, ...]

    @classmethod
    def draw(cls, concepts: int, tuning: int, count: int, seed: int) -> "SplitSets":
        """Draw splits of all concepts, and fewer without each group; see `Splits.draw`."""
        columns = np.arange(concepts)
        groups = min(GROUPS, concepts)
        return cls(
            Splits.draw(columns, tuning, count, seed),
            tuple(
                Splits.draw(columns[columns % groups != group], tuning, max(20, count // GROUP_SPLITS), seed)
                for group in range(groups)
                if (columns % groups != group).sum() > tuning
            ),
        )


@dataclass(frozen=True)
class AppliedSets:
    """What a rule does on each of the splits of a `SplitSets`."""

    everyone: Applied
    without: tuple[Applied, ...]


def ratio(rule: AppliedSets, fixed: AppliedSets, *, measure: str = "steps") -> Ratio:
    """Return a rule's cost relative to the fixed number's, with an interval over concepts; see `jackknifed`.

    Args:
        rule: whose cost is compared.
        fixed: the fixed number of steps, on the same splits.
        measure: "steps" or "seconds".
    """
    pairs = [(rule.everyone, fixed.everyone), *zip(rule.without, fixed.without, strict=True)]
    value, *without = [
        math.log(getattr(of_rule, measure).mean() / getattr(of_fixed, measure).mean()) for of_rule, of_fixed in pairs
    ]
    return jackknifed(value, without)


def ratio_of_pairs(pairs: Sequence[tuple[Applied, Applied]], measure: str) -> Ratio | None:
    """Return the ratio of mean costs, with the bounds of nine in ten pairs; None where a cost is unknown.

    Args:
        pairs: what was chosen, and the fixed number, on the same concepts.
        measure: "steps" or "seconds".
    """
    costs = np.array([[getattr(side, measure).mean() for side in pair] for pair in pairs])
    if not np.isfinite(costs).all():
        return None
    low, high = np.quantile(costs[:, 0] / costs[:, 1], [0.05, 0.95])
    return Ratio(float(costs[:, 0].mean() / costs[:, 1].mean()), float(low), float(high))
