"""Personalization: the Ray Tune trainable around a `Session`; the only Ray import among the trainables."""

import math
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from ray import tune

from trainables.data.concept import Concept
from trainables.training.session import Models, Plan, Session, StoppingCriterion
from trainables.training.sinks import Sink


class Personalization(tune.Trainable):  # type: ignore[misc]
    """Personalizes one concept a trial and reports every L_det; hand it what it needs by `tune.with_parameters`.

    The trial's config holds `run`: the name of one of `concepts`, and the criterion that stops it, or None. With
    `reuse_actors` the models are loaded once an actor. Each result holds `step`, `first_step`, `l_det_values` (see
    `trainables.training.session.Progress`), `l_det` (the last one that was evaluated), `state` and `concept`, and is
    `done` once
    the budget is used up. When the criterion fires the trial does no further step; a `ray.tune.Stopper` with the same
    criterion ends it.

    On SIGTERM, by which a node that is about to go away announces it, a checkpoint is written and the trial fails: with
    `max_failures` Ray starts it again elsewhere, where it goes on from there.
    """

    def setup(
        self,
        config: dict[str, Any],
        plan: Plan,
        concepts: Mapping[str, Concept],
        sink: Callable[[Concept, StoppingCriterion | None], Sink],
    ) -> None:
        """Load the models and begin, or go on from what the sink holds."""
        self._plan, self._concepts, self._sink = plan, concepts, sink
        # Ray sets one thread a CPU of the trial; torch must agree, or sums are split differently and bits change.
        torch.set_num_threads(max(1, int(self._cpus())))
        self._models = Models.load(plan)
        self._session: Session | None = None
        signal.signal(signal.SIGTERM, self._told_to_end)
        self.reset_config(config)

    def _told_to_end(self, number: int, frame: FrameType | None) -> None:
        if self._session is None or self._session.state != "running":
            sys.exit(128 + number)
        self._session.interrupt()

    def _cpus(self) -> float:
        resources = self.trial_resources
        return float(resources.required_resources.get("CPU", 1)) if resources else 1.0

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Turn to another run with the models that are loaded."""
        self.cleanup()
        name, criterion = new_config["run"]
        concept = self._concepts[name]
        self._session = Session(self._models, self._plan.under(criterion), concept, self._sink(concept, criterion))
        return True

    def step(self) -> dict[str, Any]:
        """Train until the next report is due."""
        assert self._session is not None
        progress = self._session.advance()
        result: dict[str, Any] = {
            "concept": self._session.training.concept.name,
            "step": progress.step,
            "first_step": progress.first_step,
            "l_det_values": list(progress.l_det),
            "state": progress.state,
            "done": progress.state == "complete",
            **progress.scores,
        }
        if evaluated := [value for value in progress.l_det if math.isfinite(value)]:
            result["l_det"] = evaluated[-1]
        if row := progress.last_row:
            result |= {"train_loss": row.train_loss, "grad_norm": row.grad_norm}
        return result

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the exact state."""
        assert self._session is not None
        self._session.save(Path(checkpoint_dir))

    def load_checkpoint(self, checkpoint: str) -> None:
        """Go back to a state that `save_checkpoint` wrote."""
        assert self._session is not None
        self._session.load(Path(checkpoint))

    def cleanup(self) -> None:
        """Leave the base model as it was."""
        if self._session is not None:
            self._session.close()
            self._session = None
