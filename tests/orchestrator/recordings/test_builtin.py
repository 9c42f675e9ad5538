"""The recordings that ship: whole, small, of every method and concept, and informative."""

from collections import Counter
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest

from orchestrator.config import presets
from orchestrator.recordings.collection import BUILTIN, read_place
from trainables.miniature.concepts import load
from trainables.miniature.entries import ENTRIES
from trainables.miniature.recipes import RECIPES
from trainables.settings import TRAIN_IMAGE


@pytest.fixture(scope="module")
def recordings():
    return read_place(BUILTIN)


def test_every_method_on_every_concept(recordings):
    counts = Counter((recording.identity.method, recording.concept) for recording in recordings)
    assert counts == Counter((method, concept) for method in RECIPES for concept in ENTRIES)
    packs = [path.stat().st_size for path in (files("orchestrator") / "builtin").iterdir()]
    assert sum(packs) <= 12_000_000


def without_hashes(identity):
    return identity | {"concept": identity["concept"] | {"images": len(identity["concept"]["images"])}}


@pytest.mark.parametrize("method", RECIPES)
def test_the_preset_makes_the_same_runs(recordings, method):
    """`dvar record --preset benchmark` records what the packs hold, and more; rendered pixels may round differently."""
    of_method = {recording.concept: recording for recording in recordings if recording.identity.method == method}
    further = {"stratified_batch": None, "quality": replace(presets.benchmark(method).quality, repeats=0)}
    experiment = presets.benchmark(method).model_copy(update=further)  # what the packs lack
    for concept in load(["duck_2", "robot_4"]):
        recorded = of_method[concept.name].identity.to_json()
        identity = experiment.identity(concept, recorded["base_model"]["fingerprint"])
        assert without_hashes(identity) == without_hashes(recorded)


@pytest.mark.parametrize("method", RECIPES)
def test_quality_rises_and_l_det_tells_of_it(recordings, method):
    of_method = [recording for recording in recordings if recording.identity.method == method]
    correlations, rises = [], []
    for recording in of_method:
        scores, at = recording.quality.scores[TRAIN_IMAGE], recording.quality.steps
        correlations.append(np.corrcoef(recording.steps.l_det[at[1:] - 1], scores[1:])[0, 1])
        rises.append(scores[-1] > scores[0])
        assert len(recording.facts["initial_losses"]) == recording.steps.input_losses.shape[1]
        assert recording.quality.samples_seconds.keys() == {"train", "val"}
    assert np.mean(correlations) < -0.7
    assert np.mean(rises) > 0.95
