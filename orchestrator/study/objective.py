"""Objective: how a setting is judged, and what the choice of one promises for new concepts."""

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orchestrator.config.experiment import StudySettings
from orchestrator.recordings.recording import Floats
from trainables.errors import InvalidInput
from trainables.settings import TRAIN_IMAGE
from trainables.text import did_you_mean

Cost = Literal["iterations", "seconds"]
Kind = Literal["reliable", "mean-lcb", "mean"]
KINDS: tuple[Kind, ...] = get_args(Kind)
RELIABLE, MEAN_LCB, MEAN = KINDS

#: Columns of a table: settings, or concepts.
Indices = NDArray[np.int64]

#: Share of new concepts that may fall under the target unless another is asked for.
DEFAULT_RISK = 0.25
#: Means and shares that are equal but for the rounding of their last bits count as equal.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Objective:
    """How a setting is judged: the lowest cost such that enough quality is kept.

    "reliable" is conformal risk control (Angelopoulos et al., 2024) over a family of settings that are ordered from
    late stops to early ones: of *n* tuning concepts *f* may fall under the target as long as (f + 1) / (n + 1) <= risk,
    for a setting and for every later one. Then at most that share of new concepts falls under it, on average over
    draws of the tuning concepts from the same population. "mean-lcb" demands the target of the mean over concepts minus
    its standard error, and "mean" of the mean alone (paper, section 4.2).

    Attributes:
        quality_kept: the target, a share of the best quality, above 0 and at most 1.
        metric: the quality that counts.
        cost: what is saved: optimizer steps, or measured seconds including what the criterion itself costs.
        kind: "reliable", "mean-lcb" or "mean".
        risk: of "reliable", share of new concepts that may keep less than the target, between 0 and 1; None takes .25,
            or the least that the number of tuning concepts can carry.

    Raises:
        InvalidInput: a value is out of range, or the kind is unknown.
    """

    quality_kept: float = 0.9
    metric: str = TRAIN_IMAGE
    cost: Cost = "iterations"
    kind: Kind = RELIABLE
    risk: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.quality_kept <= 1:
            raise InvalidInput(f"quality_kept must lie above 0 and at most at 1, got {self.quality_kept}")
        if self.kind not in KINDS:
            raise InvalidInput(f"unknown objective {self.kind!r}; {did_you_mean(self.kind, KINDS)}")
        if self.risk is not None and not 0 < self.risk < 1:
            raise InvalidInput(f"risk must lie strictly between 0 and 1, got {self.risk}")
        if self.risk is not None and self.kind != RELIABLE:
            raise InvalidInput(f"the objective {self.kind!r} promises no share of concepts; omit --risk ({self.risk})")

    @classmethod
    def of(cls, settings: StudySettings) -> "Objective":
        """Return the objective that an experiment's study names."""
        return cls(settings.quality_kept, settings.measure, settings.cost, settings.objective, settings.risk)

    @property
    def is_reliable(self) -> bool:
        """Whether the choice is made within an ordered family of settings, and promises a share of new concepts."""
        return self.kind == RELIABLE

    def risk_with(self, concepts: int) -> float:
        """Return the share of new concepts that may fall under the target, with a number of tuning concepts.

        Example:
            >>> [Objective().risk_with(concepts) for concepts in (2, 3, 24)]
            [0.3333333333333333, 0.25, 0.25]
            >>> Objective(risk=0.1).risk_with(8)
            Traceback (most recent call last):
            ...
            trainables.errors.InvalidInput: with 8 tuning concepts no choice can promise that fewer than 11.1 % of new \
concepts fall under the target, and 10 % is asked for; tune on at least 9 concepts, or allow more with --risk

        Raises:
            InvalidInput: a smaller share is asked for than the number of concepts can carry.
        """
        least = 1 / (concepts + 1)
        if self.risk is None:
            return max(DEFAULT_RISK, least)
        if not self.carries(concepts):
            needed = math.ceil(1 / self.risk - 1 - _ROUNDING)
            raise InvalidInput(
                f"with {concepts} tuning concepts no choice can promise that fewer than {100 * least:.3g} % of new "
                f"concepts fall under the target, and {100 * self.risk:.3g} % is asked for; tune on at least {needed} "
                "concepts, or allow more with --risk"
            )
        return self.risk

    def check_carries(self, concepts: int) -> None:
        """Check that a number of tuning concepts suffices for what is promised.

        Raises:
            InvalidInput: see `risk_with`.
        """
        if self.is_reliable:
            self.risk_with(concepts)

    def at_most(self, concepts: int) -> "Objective":
        """Return the same objective, with a risk that a number of tuning concepts can carry."""
        if self.carries(concepts):
            return self
        return replace(self, risk=1 / (concepts + 1))

    def carries(self, concepts: int) -> bool:
        """Return whether a number of tuning concepts suffices for what is promised."""
        return self.risk is None or not self.is_reliable or self.risk >= 1 / (concepts + 1) - _ROUNDING

    def allowed_failures(self, concepts: int) -> int:
        """Return how many of the tuning concepts may fall under the target.

        Example:
            >>> [Objective().allowed_failures(concepts) for concepts in (1, 3, 8, 24)]
            [0, 0, 1, 5]

        Raises:
            InvalidInput: see `risk_with`.
        """
        return math.floor(self.risk_with(concepts) * (concepts + 1) + _ROUNDING) - 1

    def falls_below(self, kept: ArrayLike) -> NDArray[np.bool_]:
        """Return whether each concept keeps less than the target, in the shape of `kept`."""
        return ~(np.asarray(kept) >= self.quality_kept - _ROUNDING)  # what was not measured keeps nothing

    def shortfall(self, kept: ArrayLike) -> Floats:
        """Return by how much settings fall short of what is demanded; at most 0 where they keep enough.

        Example:
            >>> Objective(kind="mean").shortfall([[0.8, 0.9], [0.9, 1.0]]).round(2).tolist()
            [0.05, -0.05]
            >>> Objective().shortfall([[0.8, 0.9, 0.9], [0.9, 1.0, 0.9]]).round(2).tolist()
            [0.33, 0.0]

        Args:
            kept: share of the best quality that each tuning concept keeps, shape (..., concepts), at least one concept.

        Returns:
            For "reliable" the number of concepts under the target beyond those allowed, as a share of the concepts;
            otherwise what the mean, or its lower bound, lacks to the target. Shape (...).

        Raises:
            InvalidInput: see `risk_with`.
        """
        shares = np.asarray(kept, dtype=np.float64)
        concepts = shares.shape[-1]
        if self.is_reliable:
            failures = self.falls_below(shares).sum(axis=-1)
            return np.asarray((failures - self.allowed_failures(concepts)) / concepts)
        bound = shares.mean(axis=-1)
        if self.kind == MEAN_LCB and concepts > 1:
            bound = bound - shares.std(axis=-1, ddof=1) / math.sqrt(concepts)
        return np.asarray(self.quality_kept - bound)

    def feasible(self, kept: ArrayLike) -> NDArray[np.bool_]:
        """Return which settings keep enough on the tuning concepts.

        Args:
            kept: as in `shortfall`, shape (settings, ..., concepts). For "reliable" the settings are ordered from late
                stops to early ones, and only those count before which every later one keeps enough, too: a run that
                began wherever it happens to be good would be a choice of two parameters, and break the promise.

        Returns:
            Shape (settings, ...).

        Raises:
            InvalidInput: see `risk_with`.
        """
        enough = self.shortfall(kept) <= _ROUNDING
        return np.logical_and.accumulate(enough, axis=0) if self.is_reliable else enough

    def choose(self, costs: ArrayLike, kept: ArrayLike) -> int | None:
        """Return which setting is best: of those that keep enough the cheapest, of equals the one that keeps the most.

        Args:
            costs: of each setting on each tuning concept, shape (settings, concepts).
            kept: likewise; see `feasible` for the order of the settings.

        Returns:
            Its index; None if no setting keeps enough.

        Raises:
            InvalidInput: see `risk_with`.
        """
        chosen = int(self.choose_each(np.asarray(costs), np.asarray(kept)))
        return None if chosen < 0 else chosen

    def choose_each(self, costs: Floats, kept: Floats) -> Indices:
        """Return which setting is best on each of many sets of tuning concepts; see `choose`.

        Args:
            costs: shape (settings, ..., concepts).
            kept: likewise.

        Returns:
            Indices, shape (...); -1 where no setting keeps enough.
        """
        feasible = self.feasible(kept)
        cost = np.where(feasible, costs.mean(axis=-1), np.inf)
        is_cheapest = feasible & (cost <= cost.min(axis=0) + _ROUNDING)
        chosen = np.where(is_cheapest, kept.mean(axis=-1), -np.inf).argmax(axis=0)
        return np.where(feasible.any(axis=0), chosen, -1)

    def identity(self, pareto: bool) -> dict[str, object]:
        """Return what the results of a study depend on, as plain JSON; with two objectives no share is demanded."""
        identity: dict[str, object] = {"measure": self.metric, "cost": self.cost}
        # A reliable study's second objective is the share under the target, which depends on it.
        identity["kept"] = None if pareto and not self.is_reliable else self.quality_kept
        return identity if self.kind == MEAN else identity | {"objective": self.kind, "risk": self.risk}
