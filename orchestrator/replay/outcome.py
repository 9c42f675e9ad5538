"""Outcome: how a criterion did on a run; Summary: how it did on several, averaged over seeds and concepts."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from orchestrator.replay.aggregate import mean_by_concept


@dataclass(frozen=True)
class Outcome:
    """How a criterion did on a run. What was not measured is None.

    Attributes:
        concept: name of the concept.
        seed: of the training; None when the recording does not say.
        stop_step: optimizer steps done; the budget when the criterion never stopped.
        stopped: whether the criterion stopped the run.
        budget: optimizer steps of a full-length run.
        seconds: time of the steps done, including what the criterion itself costs: each evaluation of L_det that it
            needs, or drawing and scoring the samples that it watches. The time of evaluations that were not made is
            estimated, see `l_det_cost`.
        quality_at_stop: score of what is kept: the weights at the stop, or those of the best snapshot up to it for a
            criterion that keeps the best. Replayed, it is read off the `QualityCurve`, an estimate; a live run's was
            measured.
        best_quality: highest score that the full-length run reaches on its `QualityCurve`, an estimate; a single score
            may exceed it.
    """

    concept: str
    seed: int | None
    stop_step: int
    stopped: bool
    budget: int
    seconds: float | None
    quality_at_stop: float | None
    best_quality: float | None

    @property
    def share(self) -> float:
        """Share of the budget that was used, above 0 and at most 1."""
        return self.stop_step / self.budget

    @property
    def quality_kept(self) -> float | None:
        """Quality at the stop over the best quality of the full budget; None where either was not measured."""
        if self.quality_at_stop is None or self.best_quality is None:
            return None
        return self.quality_at_stop / self.best_quality

    def metrics(self) -> dict[str, float]:
        """Return what was measured, by the names that MLflow gets."""
        names = ("stop_step", "share", "seconds", "quality_at_stop", "best_quality", "quality_kept")
        values = {name: getattr(self, name) for name in names}
        return {name: float(value) for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over concepts; a single concept has no deviation (None)."""

    mean: float
    std: float | None


@dataclass(frozen=True)
class Summary:
    """The outcomes of a criterion, averaged over the seeds of each concept and then over concepts.

    Attributes:
        concepts: number of concepts.
        iterations: optimizer steps at the stop.
        share: used part of the budget, 0..1.
        seconds: time until the stop; None unless every outcome has it.
        quality_kept: share of the best quality; None unless every outcome has it.
    """

    concepts: int
    iterations: Spread
    share: Spread
    seconds: Spread | None
    quality_kept: Spread | None

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> "Summary":
        """Summarise outcomes.

        Example:
            >>> outcomes = [Outcome(name, seed, stop, True, 100, 2.0, 0.9, 1.0) for name, seed, stop in
            ...             [("cat", 0, 10), ("cat", 1, 30), ("dog", 0, 60)]]
            >>> Summary.of(outcomes).iterations.mean
            40.0

        Args:
            outcomes: at least one.
        """
        names = [outcome.concept for outcome in outcomes]
        return cls(
            concepts=len(set(names)),
            iterations=_over_concepts(names, [outcome.stop_step for outcome in outcomes]),
            share=_over_concepts(names, [outcome.share for outcome in outcomes]),
            seconds=_if_measured(names, [outcome.seconds for outcome in outcomes]),
            quality_kept=_if_measured(names, [outcome.quality_kept for outcome in outcomes]),
        )

    def spreads(self) -> dict[str, Spread]:
        """Return what was measured, by name."""
        names = ("iterations", "share", "seconds", "quality_kept")
        return {name: spread for name in names if (spread := getattr(self, name)) is not None}


def _if_measured(names: Sequence[str], values: Sequence[float | None]) -> Spread | None:
    measured = [value for value in values if value is not None]
    return _over_concepts(names, measured) if len(measured) == len(values) else None


def _over_concepts(names: Sequence[str], values: Sequence[float]) -> Spread:
    means = [float(mean) for mean in mean_by_concept(names, values).values()]
    return Spread(fmean(means), stdev(means) if len(means) > 1 else None)
