"""What a benchmark compares and results in: rules, settings, and a row per method and rule."""

import math
from dataclasses import dataclass, field

import numpy as np

from orchestrator.criteria import Criterion
from orchestrator.study.jackknife import Ratio
from orchestrator.study.objective import Objective
from orchestrator.study.search_space import Params
from orchestrator.study.splits import Applied


@dataclass(frozen=True)
class Rule:
    """A criterion in one of its forms, as the benchmark compares it.

    Attributes:
        label: for tables.
        name: of the criterion.
        fixed: parameters that stay as they are.
    """

    label: str
    name: str
    fixed: Params = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash(self.label)


@dataclass(frozen=True)
class BenchmarkSettings:
    """What is chosen how, and on how many random splits.

    Attributes:
        objective: by which settings are chosen.
        tuning: number of tuning concepts of each split.
        splits: number of splits.
        seed: of the splits.
    """

    objective: Objective = field(default_factory=Objective)
    tuning: int = 8
    splits: int = 300
    seed: int = 0

    def to_json(self) -> dict[str, object]:
        """Return the values by the names that experiments and MLflow have for them."""
        return {
            "objective": self.objective.kind,
            "risk": self.objective.risk_with(self.tuning) if self.objective.is_reliable else None,
            "quality_kept": self.objective.quality_kept,
            "measure": self.objective.metric,
            "tuning": self.tuning,
            "splits": self.splits,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Adaptation:
    """Whether a rule's stops follow what concepts need; its setting is chosen on all concepts of the method.

    Attributes:
        criterion: with its setting.
        spread: of the stops over concepts, standard deviation over mean.
        correlation: Spearman's, of a concept's stop with the first step at which it keeps the target; None where the
            stops do not vary.
        elasticity: how the stop moves when everything happens at half the speed: 1 where it comes twice as late, 0
            where it stays. The median over the concepts that still stop within the budget; None where none does.
        line_stop: of DVAR, N / sqrt(alpha), at which it stops on a straight line; else None.
    """

    criterion: Criterion
    spread: float
    correlation: float | None
    elasticity: float | None
    line_stop: float | None


@dataclass(frozen=True)
class BenchmarkRow:
    """How a rule does on concepts of a method that its setting was not chosen on.

    Attributes:
        method: of the recordings.
        label: of the rule.
        budget: optimizer steps of a full-length run.
        applied: per split.
        steps_ratio: to the fixed number's steps at the same promise; None for the fixed number itself and what is not
            chosen.
        seconds_ratio: likewise of seconds; None where these are unknown.
        adaptation: None for what does not look at the concept.
    """

    method: str
    label: str
    budget: int
    applied: Applied
    steps_ratio: Ratio | None = None
    seconds_ratio: Ratio | None = None
    adaptation: Adaptation | None = None

    def params(self) -> dict[str, str]:
        """Return what the row is about, by the names that MLflow gets."""
        chosen = {"criterion": repr(self.adaptation.criterion)} if self.adaptation else {}
        return {"method": self.method, "rule": self.label, **chosen}

    def metrics(self) -> dict[str, float]:
        """Return what was measured, by name: means over splits, bounds of nine in ten splits, and ratios."""
        applied = self.applied
        metrics = {
            "below": float(applied.below.mean()),
            "below_low": float(np.quantile(applied.below, 0.05)),
            "below_high": float(np.quantile(applied.below, 0.95)),
            "steps": float(applied.steps.mean()),
            "steps_share": float(applied.steps.mean() / self.budget),
            "seconds": float(applied.seconds.mean()),
            "quality_kept": float(applied.kept.mean()),
        }
        for name, value in (("steps_ratio", self.steps_ratio), ("seconds_ratio", self.seconds_ratio)):
            if value is not None:
                metrics |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
        if self.adaptation is not None:
            for name in ("spread", "correlation", "elasticity", "line_stop"):
                metrics[name] = getattr(self.adaptation, name)
        return {name: value for name, value in metrics.items() if value is not None and math.isfinite(value)}


@dataclass(frozen=True)
class Carried:
    """A setting that was chosen on another method's concepts.

    Attributes:
        criterion: with the setting.
        steps_share: mean steps on all concepts, as a share of the budget.
        below: share of the concepts that keep less than the target, 0..1.
    """

    criterion: Criterion
    steps_share: float
    below: float


@dataclass(frozen=True)
class Seen:
    """What was promised of new concepts, and what was seen of them: means over splits.

    Attributes:
        label: of the rule.
        tuning: number of tuning concepts.
        promised: at most this share of new concepts falls under the target.
        seen: that did, the mean over methods.
        worst: that did on the worst method.
    """

    label: str
    tuning: int
    promised: float
    seen: float
    worst: float
