"""The resumable loop that trains a network; on a GPU it replays its steps as a CUDA graph."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

PEAK = 790e12  # operations per second of an H100 or H200 in bfloat16, measured with large matrix products
DECAY = 0.3  # share of the steps, at the end, in which the learning rate falls from its constant value


@dataclass(frozen=True)
class Schedule:
    """How a network is trained.

    Attributes:
        steps: optimizer steps.
        batch: images per step.
        learning_rate: AdamW's highest rate, reached after a warm-up of a tenth of the steps (at most 500).
        average: decay per step of the weights' moving average.
        weight_decay: AdamW's weight decay.
    """

    steps: int
    batch: int
    learning_rate: float
    average: float = 0.999
    weight_decay: float = 0.01

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0: linear warm-up, constant, then a cosine to 0."""
        warm = min(500, max(1, self.steps // 10))
        left = (self.steps - step) / max(1, math.ceil(DECAY * self.steps))
        falling = 0.5 - 0.5 * math.cos(math.pi * min(1.0, left))
        return self.learning_rate * min(1.0, (step + 1) / warm) * falling


class Task(ABC):
    """A network with its batches and its loss."""

    #: Holds all parameters that are trained.
    network: nn.Module
    #: Whether compiling the loss for a GPU, which takes a minute, pays off.
    is_compiled: ClassVar[bool] = False

    @abstractmethod
    def draw(self, size: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw a batch on the task's device, where `generator` must be too.

        Args:
            size: images, or toys, of the batch.
            generator: the only source of randomness.

        Returns:
            Tensors by name, of the same shapes in every call: a CUDA graph reads them from fixed places.
        """

    @abstractmethod
    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the loss of a batch, a scalar, without synchronizing with the host."""


class Loop:
    """Trains a task on its schedule, and keeps a moving average of the weights.

    Args:
        task: the network, its batches and its loss.
        schedule: number of steps, batch size and rates.
        seed: of the batches; the task has already initialized the weights.
        device: where the task's network is.
    """

    def __init__(self, task: Task, schedule: Schedule, seed: int, device: torch.device) -> None:
        self.task, self.schedule, self.device = task, schedule, device
        self._generator = torch.Generator(device).manual_seed(seed)
        self._names = [name for name, p in task.network.named_parameters() if p.requires_grad]
        self._parameters = [p for p in task.network.parameters() if p.requires_grad]
        self._averages = [p.detach().clone() for p in self._parameters]
        self._rate = torch.tensor(schedule.rate(0), device=device)
        on_gpu = device.type == "cuda"
        self._optimizer = torch.optim.AdamW(
            self._parameters, lr=self._rate, betas=(0.9, 0.99), weight_decay=schedule.weight_decay,
            fused=True if on_gpu else None, capturable=on_gpu,
        )  # fmt: skip
        self.steps_done = 0
        self._replay: Callable[[], None] | None = None
        self._batch: dict[str, Tensor] = {}
        self.operations = self._count_operations() * schedule.batch
        self._compute = torch.compile(task.loss, dynamic=False) if on_gpu and task.is_compiled else task.loss
        self._loss = torch.zeros((), device=device)
        self._seconds = 0.0

    @property
    def is_done(self) -> bool:
        """Whether all of the schedule's steps are done."""
        return self.steps_done >= self.schedule.steps

    def run(self, deadline: float, say: Callable[[str], None]) -> None:
        """Train until all steps are done or the deadline is reached.

        Args:
            deadline: a value of `time.monotonic()`.
            say: called with a line about progress about every 20 seconds, and at the end.
        """
        begun, first, last_said, smoothed = time.perf_counter(), self.steps_done, 0.0, 0.0
        while not self.is_done and time.monotonic() < deadline:
            self._step()
            if self.steps_done % 50 == 0 or self.is_done:
                smoothed = 0.8 * smoothed + 0.2 * self._loss.item() if smoothed else self._loss.item()
                spent = time.perf_counter() - begun
                if spent - last_said > 20 or self.is_done:
                    last_said = spent
                    say(self._line(smoothed, (self.steps_done - first) / spent))
        self._seconds += time.perf_counter() - begun

    def _line(self, loss: float, rate: float) -> str:
        return f"step {self.steps_done}/{self.schedule.steps}, loss {loss:.4f}, {self._speed(rate)}"

    def _speed(self, rate: float) -> str:
        speed = f"{rate * self.schedule.batch:,.0f} images/s, {1e3 / rate:.1f} ms a step"
        if self.device.type != "cuda":
            return speed
        return f"{speed}, {PEAK / rate / self.operations:.0f} times the operation floor"

    def _count_operations(self) -> float:
        """Return the floating-point operations of a forward and backward pass, per image."""
        batch = self.task.draw(8, torch.Generator(self.device).manual_seed(0))
        with FlopCounterMode(display=False) as counter, self._precision():
            self.task.loss(batch).backward()  # type: ignore[no-untyped-call]
        self._optimizer.zero_grad()
        return float(counter.get_total_flops()) / 8

    def _step(self) -> None:
        self._rate.fill_(self.schedule.rate(self.steps_done))
        drawn = self.task.draw(self.schedule.batch, self._generator)
        if self.device.type == "cuda":
            self._step_graph(drawn)
        else:
            self._batch = drawn
            self._update()
        self.steps_done += 1

    def _step_graph(self, drawn: Mapping[str, Tensor]) -> None:
        if self._replay is None:
            self._batch = {name: value.clone() for name, value in drawn.items()}
            self._capture()
        assert self._replay is not None
        for name, value in drawn.items():
            self._batch[name].copy_(value)
        self._replay()

    def _capture(self) -> None:
        """Record a step as a CUDA graph: launched kernel by kernel, the GPU would wait for Python."""
        kept = [value.clone() for value in self._state().values()]
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._update()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._update()
        state = self._state()
        for value, before in zip(state.values(), [*kept, *[None] * (len(state) - len(kept))], strict=True):
            value.copy_(
                before
            ) if before is not None else value.zero_()  # the optimizer's moments, which the warm-up created
        self._replay = graph.replay

    def _update(self) -> None:
        self._optimizer.zero_grad(set_to_none=False)
        with self._precision():
            loss = self._compute(self._batch)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(self._averages, [*self._parameters], 1 - self.schedule.average)
            self._loss.copy_(loss.detach())

    def _precision(self) -> AbstractContextManager[object]:
        if self.device.type != "cuda":
            return nullcontext()
        # No cache of casts: a captured graph must cast the weights again in every replay.
        return torch.autocast("cuda", torch.bfloat16, cache_enabled=False)

    def _state(self) -> dict[str, Tensor]:
        """Return all tensors that a step changes; the optimizer's come last."""
        state = {f"network.{name}": value for name, value in self.task.network.state_dict().items()}
        state |= {f"average.{name}": value for name, value in zip(self._names, self._averages, strict=True)}
        for name, parameter in zip(self._names, self._parameters, strict=True):
            for moment, value in self._optimizer.state.get(parameter, {}).items():
                state[f"optimizer.{moment}.{name}"] = value
        return state

    def save(self, path: Path) -> None:
        """Write the complete state of the training, from which `load` resumes exactly."""
        state = self._state() | {
            "steps_done": torch.tensor(self.steps_done),
            "seconds": torch.tensor(self._seconds),
            "generator": self._generator.get_state(),
        }
        partial = path.with_suffix(".partial")
        save_file({name: value.detach().cpu().contiguous().clone() for name, value in state.items()}, partial)
        partial.replace(path)

    def load(self, path: Path) -> None:
        """Resume from what `save` wrote.

        The schedule may have more steps than it had then, as long as the learning rate had not begun to fall.
        """
        state = load_file(path)
        self.steps_done, self._seconds = int(state.pop("steps_done")), float(state.pop("seconds"))
        self._generator.set_state(state.pop("generator"))
        for name, parameter in zip(self._names, self._parameters, strict=True):
            moments = {
                key.split(".")[1]: state[key]
                for key in state
                if key.split(".", 2)[-1] == name and key.startswith("optimizer.")
            }
            self._optimizer.state[parameter] = {
                moment: torch.empty_like(parameter).copy_(value) if value.ndim else value.to(self.device)
                for moment, value in moments.items()
            }
        with torch.no_grad():
            for name, value in self._state().items():
                value.copy_(state[name])

    def averaged(self) -> dict[str, Tensor]:
        """Return the network's state, with the moving averages in place of the trained parameters."""
        averages = dict(zip(self._names, self._averages, strict=True))
        return {name: averages.get(name, value).detach() for name, value in self.task.network.state_dict().items()}

    def facts(self) -> dict[str, float]:
        """Return what the training cost: steps, seconds, speed, and its ratio to the operation floor, by name."""
        rate = self.steps_done / self._seconds if self._seconds else 0.0
        return {
            "steps": self.steps_done,
            "seconds": round(self._seconds, 1),
            "images_per_second": round(rate * self.schedule.batch),
            "operations_per_step": self.operations,
            "times_the_operation_floor": round(PEAK / rate / self.operations, 1) if rate else 0.0,
        }
