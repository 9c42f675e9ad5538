"""Rows that say which step they are of, and recordings that are begun or complete."""

import numpy as np

from orchestrator.recordings.identity import RunIdentity
from trainables.training.sinks import StepRow


def identity(name="dog", budget=30, **more):
    return RunIdentity({"concept": {"name": name}, "budget": budget, "seed": 0, **more})


def row(step):
    losses = tuple(np.random.default_rng(step).random(3))
    return StepRow(step, float(np.mean(losses)), 1.0 / step, 0.1 * step, 0.01, 0.005, losses)


def rows(first, last):
    return [row(step) for step in range(first, last + 1)]


def begun(store, **options):
    recorder = store.recorder(identity(**options))
    recorder.started({"device": "CPU"})
    recorder.resumed(0)
    return recorder


def complete(store, adapter, steps=6, **options):
    recorder = begun(store, **options)
    recorder.snapshot(0, {"train_clip_image": 0.5}, {"train": 0.75, "val": 0.25}, adapter)
    recorder.steps(rows(1, steps))
    recorder.checkpoint(steps, adapter)
    recorder.snapshot(steps, {"train_clip_image": 0.75}, {"train": 1.5, "val": 0.5}, adapter)
    recorder.ended("complete", "done")
    return recorder
