"""Personalization: the Ray Tune trainable around a `TrainingRun`; the only Ray import among the trainables."""

import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
from ray import tune

from trainables.data.concept import Concept
from trainables.training.config import RunConfig, StoppingCriterion
from trainables.training.run import Models, TrainingRun
from trainables.training.sinks import Sink


class RunSpec(Protocol):
    """What a trial's config says about a run."""

    @property
    def concept(self) -> str:
        """Name of the concept to learn."""

    @property
    def criterion(self) -> StoppingCriterion | None:
        """What may end the run; None trains for the whole budget."""


class Personalization(tune.Trainable):  # type: ignore[misc]
    """Personalizes one concept per trial and reports every L_det; `tune.with_parameters` gives `setup` its arguments.

    The trial's config holds `runs`, the specs of its runs; today there must be exactly one. With `reuse_actors` the
    models are loaded once per actor. Each result holds `reports`, the `Report` of every run in the same order, and is
    `done` once all runs have ended: a run whose criterion fires takes no further step.

    On SIGTERM, by which a node announces that it will go away, a checkpoint is written and the trial fails. With
    `max_failures`, Ray restarts the trial elsewhere, and it continues from the checkpoint.
    """

    def setup(
        self,
        config: dict[str, Any],
        run_config: RunConfig,
        concepts: Mapping[str, Concept],
        sink: Callable[[RunSpec], Sink],
    ) -> None:
        """Load the models, and set up the first run.

        Args:
            config: the trial's; see the class.
            run_config: what all runs have in common.
            concepts: by name.
            sink: makes the sink of a run; a checkpoint that it holds is continued.
        """
        self._run_config, self._concepts, self._sink = run_config, concepts, sink
        # Ray sets one thread per CPU of the trial; torch must agree, or sums are split differently and bits change.
        torch.set_num_threads(max(1, int(self._cpus())))
        self._models = Models.load(run_config)
        self._run: TrainingRun | None = None
        signal.signal(signal.SIGTERM, self._on_sigterm)
        self.reset_config(config)

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        if self._run is None or self._run.state != "running":
            sys.exit(128 + number)
        self._run.interrupt()

    def _cpus(self) -> float:
        resources = self.trial_resources
        return float(resources.required_resources.get("CPU", 1)) if resources else 1.0

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Set up another run with the models that are already loaded; return True, which tells Ray that this worked.

        Raises:
            ValueError: the config holds no run, or several, which a trial cannot train together yet.
        """
        self.cleanup()
        specs: tuple[RunSpec, ...] = new_config["runs"]
        if len(specs) != 1:
            raise ValueError(f"a trial trains one run, got {len(specs)}")
        (spec,) = specs
        config = self._run_config.under(spec.criterion)
        self._run = TrainingRun(self._models, config, self._concepts[spec.concept], self._sink(spec))
        return True

    def step(self) -> dict[str, Any]:
        """Train until a report is due; return it, and whether the trial is done."""
        assert self._run is not None
        report = self._run.advance()
        return {"reports": (report,), "done": report.has_ended}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the run's exact state as a file into the folder."""
        assert self._run is not None
        self._run.save(Path(checkpoint_dir))

    def load_checkpoint(self, checkpoint: str) -> None:
        """Go back to a state that `save_checkpoint` wrote."""
        assert self._run is not None
        self._run.load(Path(checkpoint))

    def cleanup(self) -> None:
        """Close the run, so that the base model is what it was before."""
        if self._run is not None:
            self._run.close()
            self._run = None
