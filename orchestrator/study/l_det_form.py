"""Which form of L_det criteria look at, unless their settings say otherwise."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from orchestrator import plugins
from orchestrator.criteria import Criterion, Divergence, LDetCriterion
from orchestrator.recordings.recording import Recording
from orchestrator.study.search_space import Params
from search_spaces.base import Value
from trainables.settings import CHEAP, PAPER, STRATIFIED

Form = Literal["paper", "stratified"]
#: With fewer steps a window would hold too few evaluations that are five steps apart.
LEAST_BUDGET = 50


def with_form(
    names: Sequence[str], fixed: Mapping[str, Params], form: Form | None, budget: int, *, stratified_every: int | None
) -> dict[str, Params]:
    """Return the parameters that are not searched, with those of the form of L_det.

    Example:
        >>> with_form(["dvar", "few_iterations"], {}, None, budget=400, stratified_every=None)
        {'dvar': {'stride': 5, 'inputs': 2, 'relative': True}}
        >>> with_form(["dvar"], {}, "paper", budget=400, stratified_every=1)
        {}

    Args:
        names: of the criteria that are searched.
        fixed: for a criterion, parameters that the user fixes; they count more than the form.
        form: "paper" is the paper's to the letter; "stratified" takes two inputs of the stratified batch every five
            steps, relative to the base model; None takes the same of the paper's batch where there is no other.
        budget: optimizer steps of a full-length run.
        stratified_every: steps between evaluations of the stratified batch; None where it is not evaluated.
    """
    merged = {name: _params(name, fixed.get(name, {}), form, budget, stratified_every) for name in names}
    merged |= {name: dict(params) for name, params in fixed.items() if name not in merged}
    return {name: params for name, params in merged.items() if params}


def _params(name: str, fixed: Params, form: Form | None, budget: int, stratified_every: int | None) -> Params:
    kind = plugins.CRITERIA.load(name, Criterion)
    if form == PAPER or not issubclass(kind, LDetCriterion):
        return dict(fixed)
    every = CHEAP.every if budget >= LEAST_BUDGET else 1
    if form == STRATIFIED and stratified_every is not None and every % stratified_every:
        every = stratified_every
    stride = {"stride": every} if every > 1 else {}
    if issubclass(kind, Divergence):  # of a batch of its own
        return {**stride, "inputs": CHEAP.inputs, **fixed}
    params: dict[str, Value] = {**stride, "inputs": CHEAP.inputs, "relative": True}
    steps = fixed.get("stride", params.get("stride", 1))
    # A batch that is evaluated every few steps can only be looked at every few steps.
    fits = stratified_every is not None and isinstance(steps, int) and steps % stratified_every == 0
    return {**params, **({"batch": STRATIFIED} if form == STRATIFIED or fits else {}), **fixed}


def stratified_every(recordings: Sequence[Recording]) -> int | None:
    """Return how many steps lie between the evaluations of the stratified batch; None where a recording lacks it."""
    distances = set()
    for recording in recordings:
        if not recording.has_batch(STRATIFIED):
            return None
        evaluated = np.flatnonzero(np.isfinite(recording.losses_of(STRATIFIED)).all(axis=1))
        distances.add(int(evaluated[0]) + 1 if evaluated.size else recording.budget)
    return math.lcm(*distances) if distances else None


def form_for(form: Form | None, recordings: Sequence[Recording]) -> Form | None:
    """Return the form of L_det to search: where none is asked for, old recordings have only the paper's."""
    if form is None and not all(recording.facts.get("initial_losses") for recording in recordings):
        return "paper"
    return form
