"""What is checked of a criterion before it stops live runs."""

from orchestrator.config.experiment import BATCH_KEYS, Experiment
from orchestrator.criteria import Criterion
from trainables.errors import InvalidInput
from trainables.l_det import REMEDIES


def check_live(experiment: Experiment, criterion: Criterion) -> None:
    """Check that a criterion can stop a live run.

    Raises:
        InvalidInput: it watches samples, needs a batch that the experiment lacks or more inputs than the batch has, or
            has a window that is not shorter than the budget.
    """
    if not criterion.decides_by_step:
        raise InvalidInput(
            f"{criterion} watches samples, which a live run does not take before its end; `dvar compare` and "
            "`dvar tune` can replay it, and `dvar tune --criteria` selects other criteria"
        )
    if criterion.keeps_best:
        raise InvalidInput(
            f"{criterion} keeps the best snapshot before its stop, and a live run keeps only the last; `dvar compare` "
            "and `dvar tune` can replay it, and `dvar tune --criteria` selects other criteria"
        )
    _check_batches(experiment, criterion)
    window = getattr(criterion, "window", None)
    if window is not None and window >= experiment.budget:
        raise InvalidInput(
            f"window {window} is not shorter than the budget of {experiment.budget} steps, so {criterion} could never "
            "stop; give a smaller --window or a larger --budget"
        )


def _check_batches(experiment: Experiment, criterion: Criterion) -> None:
    inputs = criterion.l_det_schedule.inputs
    for name in criterion.l_det_schedule.batches if criterion.needs_l_det else ():
        key, batch = BATCH_KEYS[name], experiment.batches[name]
        if batch is None:
            raise InvalidInput(f"{criterion} looks at the {name} batch, but {key} is null; set {REMEDIES[name]}")
        if inputs is not None and inputs > batch.size:
            raise InvalidInput(f"{criterion} evaluates {inputs} inputs at a time, but {key}.size is {batch.size}")
