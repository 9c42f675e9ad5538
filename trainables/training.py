"""Training: one concept, one optimizer step at a time, with L_det after each; no Ray inside."""

import math
import time
from collections.abc import Mapping

import torch
from torch import Tensor

from trainables.base_model import BaseModel
from trainables.concept import Concept
from trainables.fixed_batch import FixedBatch
from trainables.inputs import SOURCES, InputSource
from trainables.methods.base import Method
from trainables.randomness import Streams
from trainables.settings import FixedBatchSettings
from trainables.sinks import StepRow
from trainables.tensors import part

PAPER_BATCH = FixedBatchSettings()


class NonFiniteLossError(ArithmeticError):
    """A loss became NaN or infinite; the message names the concept, the step and the remedy."""


class Training:
    """Personalizes `base` to `concept` by `method`.

    On the CPU the same arguments give the same series bit for bit, also across `state_dict` and
    `load_state_dict`; the number of threads must stay the same.

    Args:
        base: model to personalize; it is changed in place and restored by `close`.
        method: what trains, and by which loss; it is attached here.
        concept: whose images are learned.
        seed: of the streams from which training batches are drawn.
        fixed_batch: how the inputs of L_det are drawn; None trains without L_det.

    Raises:
        InvalidInput: concept, method and base model do not fit each other.
    """

    def __init__(
        self,
        base: BaseModel,
        method: Method,
        concept: Concept,
        *,
        seed: int = 0,
        fixed_batch: FixedBatchSettings | None = PAPER_BATCH,
    ) -> None:
        self.base, self.method, self.concept = base, method, concept
        self.steps_done = 0
        self._streams = Streams(seed, "training", SOURCES)
        method.attach(base, concept)
        try:
            self._source = InputSource(base, concept, method.templates, method.flip_probability)
            self.fixed_batch = FixedBatch(self._source, fixed_batch) if fixed_batch else None
        except BaseException:
            method.detach()
            raise
        self._optimizer = torch.optim.AdamW(method.parameter_groups())

    def step(self) -> StepRow:
        """Do one optimizer step, then measure L_det.

        Raises:
            NonFiniteLossError: a loss is NaN or infinite.
        """
        start = self._clock()
        train_loss, grad_norm = self._update()
        self.steps_done += 1
        trained = self._clock()
        losses = self.fixed_batch.losses(self.method) if self.fixed_batch else None
        measured = self._clock()
        row = StepRow(
            step=self.steps_done,
            l_det=None if losses is None else losses.mean().item(),
            train_loss=train_loss,
            grad_norm=grad_norm,
            seconds=trained - start,
            l_det_seconds=measured - trained,
            input_losses=() if losses is None else tuple(losses.tolist()),
        )
        self._check_finite(row)
        return row

    def _update(self) -> tuple[float, float]:
        inputs = self._source.draw_training(self.method.batch_size, self._streams)
        loss = self.method.loss(inputs)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        grad_norm = torch.nn.utils.get_total_norm(
            [p.grad for group in self._optimizer.param_groups for p in group["params"] if p.grad is not None]
        )
        self._optimizer.step()
        return loss.item(), grad_norm.item()

    def _check_finite(self, row: StepRow) -> None:
        for name, value in (("L_det", row.l_det), ("the training loss", row.train_loss)):
            if value is not None and not math.isfinite(value):
                raise NonFiniteLossError(
                    f"concept {self.concept.name!r}: {name} became {value} at step {row.step}; "
                    "lower the learning rate or train in a wider precision"
                )

    def _clock(self) -> float:
        if self.base.device.type == "cuda":  # kernels run asynchronously: without this, time lands on the next part
            torch.cuda.synchronize(self.base.device)
        return time.perf_counter()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the exact state: what trains, the optimizer, every random stream and the position."""
        state = {"steps_done": torch.tensor(self.steps_done)}
        state |= {f"method.{name}": value for name, value in self.method.state_dict().items()}
        state |= {f"stream.{name}": value for name, value in self._streams.state_dict().items()}
        for index, moments in self._optimizer.state_dict()["state"].items():
            state |= {f"optimizer.{index}.{name}": value for name, value in moments.items()}
        return {name: value.detach().clone() for name, value in state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go back to a state that `state_dict` returned, of a training with the same arguments.

        Raises:
            KeyError: something is missing.
        """
        self.steps_done = int(state["steps_done"])
        self.method.load_state_dict(part(state, "method."))
        self._streams.load_state_dict(part(state, "stream."))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in part(state, "optimizer.").items():
            index, moment = name.split(".", 1)
            moments.setdefault(int(index), {})[moment] = value
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": moments, "param_groups": groups})

    def close(self) -> None:
        """Leave the base model as it was before this training."""
        self.method.detach()
