"""Which form of L_det criteria look at, unless their settings say otherwise."""

from collections.abc import Mapping, Sequence
from typing import Literal

from orchestrator import plugins
from orchestrator.criteria import Criterion, Divergence, LDetCriterion
from orchestrator.study.search_space import Params
from trainables.settings import CHEAP, PAPER, STRATIFIED

Form = Literal["paper", "stratified"]
#: With fewer steps a window would hold too few evaluations that are five steps apart.
LEAST_BUDGET = 50


def with_form(
    names: Sequence[str], fixed: Mapping[str, Params], form: Form | None, budget: int, *, has_stratified: bool
) -> dict[str, Params]:
    """Return the parameters that are not searched, with those of the form of L_det.

    Example:
        >>> with_form(["dvar", "few_iterations"], {}, None, budget=400, has_stratified=False)
        {'dvar': {'stride': 5, 'inputs': 2, 'relative': True}}
        >>> with_form(["dvar"], {}, "paper", budget=400, has_stratified=True)
        {}

    Args:
        names: of the criteria that are searched.
        fixed: for a criterion, parameters that the user fixes; they count more than the form.
        form: "paper" is the paper's to the letter; "stratified" takes two inputs of the stratified batch every five
            steps, relative to the base model; None takes the same of the paper's batch where there is no other.
        budget: optimizer steps of a full-length run.
        has_stratified: whether the stratified batch is evaluated.
    """
    merged = {name: {**_params(name, form, budget, has_stratified), **fixed.get(name, {})} for name in names}
    merged |= {name: dict(params) for name, params in fixed.items() if name not in merged}
    return {name: params for name, params in merged.items() if params}


def _params(name: str, form: Form | None, budget: int, has_stratified: bool) -> Params:
    kind = plugins.CRITERIA.load(name, Criterion)
    if form == PAPER or not issubclass(kind, LDetCriterion):
        return {}
    stride = {"stride": CHEAP.every} if budget >= LEAST_BUDGET else {}
    if issubclass(kind, Divergence):  # of a batch of its own
        return {**stride, "inputs": CHEAP.inputs}
    batch = {"batch": STRATIFIED} if form == STRATIFIED or has_stratified else {}
    return {**stride, "inputs": CHEAP.inputs, "relative": True, **batch}
