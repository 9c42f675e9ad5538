"""From one optimizer step to a Ray Tune trial.

`training.Training` is the loop: a loss, an update, L_det. `fixed_batch` draws the inputs of L_det and evaluates it.
`run.TrainingRun` adds a budget, a criterion, samples and checkpoints, and tells a `Sink` what happens;
`personalization.Personalization` is the Ray Tune trainable around it, and the only module that imports Ray.

Exported here is what a driver exchanges with a run: none of it imports torch or Ray.
"""

from trainables.training.config import OnlineCriterion, RunConfig, StoppingCriterion
from trainables.training.report import Report, RunState
from trainables.training.sinks import EndState, Sink, StepRow

__all__ = [
    "EndState",
    "OnlineCriterion",
    "Report",
    "RunConfig",
    "RunState",
    "Sink",
    "StepRow",
    "StoppingCriterion",
]
