"""The demonstration's picture: every sample stands where it belongs."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from orchestrator.recordings import RecordingStore
from orchestrator.recordings.identity import RunIdentity
from orchestrator.report.figures.demo import demo_picture
from trainables.data.concept import concept_from_images
from trainables.quality.pictures import contact_sheet
from trainables.training.sinks import StepRow

COLOURS = {"own": "red", "stop": "blue", "end": "green", "new": "yellow"}


def solid(name):
    return Image.new("RGB", (64, 64), COLOURS[name])


def recorded(store, steps, training, validation):
    """A run that ended after some steps with a snapshot of two samples of each kind."""
    spec = SimpleNamespace(identity=RunIdentity({"concept": {"name": "toy"}, "budget": 4, "seed": steps}))
    recorder = store.recorder(spec.identity)
    recorder.started({})
    recorder.steps([StepRow(step, 1.0, 1.0, 1.0, 0.1, 0.1, (1.0,)) for step in range(1, steps + 1)])
    return spec, recorder, [solid(training)] * 2 + [solid(validation)] * 2


@pytest.fixture
def picture(tmp_path):
    specs = []
    for folder, steps, training in (("full", 4, "end"), ("live", 3, "stop")):
        spec, recorder, samples = recorded(RecordingStore(str(tmp_path / folder)), steps, training, "new")
        files = tmp_path / f"files-{folder}"
        files.mkdir()
        contact_sheet(samples).save(files / "samples.png")
        recorder.snapshot(steps, {"train_clip_image": 0.5}, {"train": 1.0}, files)
        recorder.ended("complete", "")
        specs.append(spec)
    concept = concept_from_images("toy", "toy", [solid("own")] * 3)
    full, live = (RecordingStore(str(tmp_path / folder)) for folder in ("full", "live"))
    return demo_picture([concept], full, specs[:1], live, specs[1:])


def test_columns_from_left_to_right(picture):
    pixels = np.asarray(picture.convert("RGB"))
    centres = {}
    for name, colour in COLOURS.items():
        reference = np.array(Image.new("RGB", (1, 1), colour)).reshape(3)
        columns = np.flatnonzero((pixels == reference).all(axis=2).any(axis=0))
        centres[name] = columns.mean()
        assert len(columns) > 100, name
    assert sorted(centres, key=centres.get) == ["own", "stop", "end", "new"]
