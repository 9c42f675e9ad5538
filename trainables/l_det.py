"""L_det from the losses of its inputs, as a schedule says: the arithmetic that live runs and replays share.

Both add in the same order, so that they agree to the last bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainables.errors import InvalidInput
from trainables.settings import GAP, HELD_OUT, PAPER, STRATIFIED, LDetSchedule

Floats = NDArray[np.float64]

#: Inputs per forward pass of the batches other than the paper's. A pass of another size rounds differently, so that a
#: run that evaluates a few inputs in turn could not compute what one computes that evaluates them all.
PASS = 2

#: What switches a batch on that an experiment lacks.
REMEDIES = {
    PAPER: "fixed_batch.size=8",
    STRATIFIED: "stratified_batch.size=8",
    HELD_OUT: "held_out.images=1, or held_out.source=FOLDER for further views",
}


@dataclass(frozen=True)
class InputColumns:
    """The batch and the timestep of every input whose loss is known, in the order of the losses.

    Attributes:
        batches: name of each input's batch.
        timesteps: of each input; None where it is not known.
    """

    batches: tuple[str, ...]
    timesteps: tuple[int | None, ...]

    def __len__(self) -> int:
        return len(self.batches)

    def of(self, batch: str, first_timestep: int = 0) -> list[int]:
        """Return the columns of a batch whose timestep is not below `first_timestep`.

        Raises:
            InvalidInput: a timestep of them is not known.
        """
        columns = [index for index, name in enumerate(self.batches) if name == batch]
        if first_timestep and any(self.timesteps[index] is None for index in columns):
            raise InvalidInput(f"first_timestep is {first_timestep}, but the inputs' timesteps are not known")
        return [index for index in columns if not first_timestep or (self.timesteps[index] or 0) >= first_timestep]


@dataclass(frozen=True)
class Term:
    """A batch's share of L_det: its mean, added or subtracted.

    Attributes:
        columns: of the inputs that count.
        per_evaluation: how many of them an evaluation takes, in turn.
        is_subtracted: whether its mean is subtracted.
    """

    columns: tuple[int, ...]
    per_evaluation: int
    is_subtracted: bool = False

    def due(self, turn: int) -> list[int]:
        """Return the columns that an evaluation takes; `turn` counts the evaluations from 0."""
        count = len(self.columns)
        return [self.columns[(turn * self.per_evaluation + index) % count] for index in range(self.per_evaluation)]


def terms(inputs: InputColumns, schedule: LDetSchedule) -> tuple[Term, ...]:
    """Return what L_det is made of.

    Raises:
        InvalidInput: there is no batch of that name, no input that counts, or fewer than an evaluation takes.
    """
    found: list[Term] = []
    for batch in schedule.batches:
        if batch not in inputs.batches:
            raise InvalidInput(f"L_det of {_named(schedule)} needs the {batch} batch, which is lacking")
        columns = inputs.of(batch, schedule.first_timestep)
        if not columns:
            raise InvalidInput(f"no input of the {batch} batch has a timestep of {schedule.first_timestep} or more")
        if schedule.inputs is not None and schedule.inputs > len(columns):
            of = f" with a timestep of {schedule.first_timestep} or more" if schedule.first_timestep else ""
            raise InvalidInput(
                f"{schedule.inputs} inputs at a time are wanted, and the {batch} batch has {len(columns)}{of}; "
                "use fewer"
            )
        found.append(Term(tuple(columns), schedule.inputs or len(columns), is_subtracted=bool(found)))
    return tuple(found)


def _named(schedule: LDetSchedule) -> str:
    return "held-out minus trained images" if schedule.batch == GAP else f"the {schedule.batch} batch"


def combined(losses: Floats, initial: Floats, parts: Sequence[Term], *, relative: bool) -> Floats:
    """Return L_det from the latest loss of every input.

    Args:
        losses: shape (..., inputs).
        initial: loss of every input before the first step, shape (inputs,).
        parts: of `terms`.
        relative: whether each loss counts as a multiple of the initial one.

    Returns:
        Shape (...); each entry depends on its own row alone, to the last bit.
    """
    total = np.zeros(losses.shape[:-1])
    for part in parts:
        columns = list(part.columns)
        values = losses[..., columns] / initial[columns] if relative else losses[..., columns]
        mean = np.zeros(losses.shape[:-1])
        for index in range(len(columns)):  # NumPy's own sum would add a row alone and a row among many differently
            mean = mean + values[..., index]
        mean = mean / len(columns)
        total = total - mean if part.is_subtracted else total + mean
    return total
