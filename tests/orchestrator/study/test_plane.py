"""The exact optimum over DVAR's plane is what trying every window and threshold finds."""

import numpy as np
import pytest

from orchestrator.study import Objective, Study
from orchestrator.study.plane import _stops, best_on_plane
from orchestrator.study.replays import Replays
from orchestrator.study.search_space import SearchSpace

BUDGET, KEYS = 40, ("window", "threshold")


@pytest.fixture
def recordings(make_recording):
    """Three concepts, one with two seeds, at a budget that is small enough to try every setting."""
    of_name = [("a", 4, 0), ("a", 6, 1), ("b", 8, 2), ("c", 11, 3)]
    return [make_recording(name, BUDGET, rate=rate, seed=seed, every=4) for name, rate, seed in of_name]


def every_setting(replays):
    window, threshold = (replays.space.ranges["dvar"][key] for key in ("window", "threshold"))
    count = round((threshold.high - threshold.low) / threshold.step) + 1
    for steps in range(window.low, window.high + 1):
        for index in range(count):
            yield {"window": steps, "threshold": round(threshold.low + index * threshold.step, 4)}


@pytest.mark.parametrize(
    ("kind", "fixed"),
    [("mean", {}), ("mean-lcb", {"stride": 3}), ("mean", {"stride": 4, "relative": True, "inputs": 1})],
)
def test_it_is_the_best_of_all(recordings, fixed, kind):
    space = SearchSpace(["dvar"], BUDGET, fixed={"dvar": fixed} if fixed else None)
    replays = Replays(recordings, space, Objective(0.97, kind=kind))
    best = best_on_plane(replays, recordings)
    results = [replays.evaluate("dvar", params) for params in every_setting(replays)]
    assert 0.05 < np.mean([result.is_feasible for result in results]) < 0.95
    windows, thresholds = (list(dict.fromkeys(result.params[key] for result in results)) for key in KEYS)
    for index, recording in enumerate(recordings):
        stops = [result.outcomes[index].stop_step for result in results]
        assert _stops(replays, recording, windows, thresholds).ravel().tolist() == stops
    assert best.rank == pytest.approx(min(result.rank for result in results))
    assert best.criterion in {result.criterion for result in results if result.rank == pytest.approx(best.rank)}


def test_the_sampler_is_never_cheaper_than_the_optimum(recordings):
    regrets = []
    for seed in range(4):
        result = Study(recordings, objective=Objective(0.97, kind="mean")).search(3, seed=seed)
        (dvar,) = [each for each in result.best_of_each() if each.name == "dvar"]
        regrets.append(result.sampled.cost - dvar.cost)
    assert min(regrets) >= 0
    assert max(regrets) > 0


@pytest.mark.parametrize(
    ("names", "options"),
    [
        (["few_iterations"], {}),
        (["dvar"], {"fixed": {"dvar": {"threshold": 0.3}}}),
        (["dvar"], {"objective": Objective(0.85, kind="mean", cost="seconds")}),
        (["dvar"], {"objective": Objective(1.0, kind="mean"), "fixed": {"dvar": {"stride": 5}}}),
    ],
)
def test_where_the_plane_is_not_searched(make_recording, names, options):
    """DVAR is not searched, half of it is fixed, seconds are the cost, or no setting keeps enough."""
    recordings = [make_recording("a", BUDGET, rate=15), make_recording("b", BUDGET, rate=25)]
    objective = options.pop("objective", Objective(0.85, kind="mean"))
    if objective.quality_kept == 1:
        recordings = [falling(recordings[0], True), falling(recordings[1], False)]
    replays = Replays(recordings, SearchSpace(names, BUDGET, **options), objective)
    assert best_on_plane(replays, recordings) is None


def falling(recording, is_early):
    """Quality rises or falls all the time, so that no setting keeps all of both concepts."""
    scores = recording.quality.scores["train_clip_image"]
    scores[:] = np.linspace(0.9, 0.3, len(scores)) if is_early else np.linspace(0.3, 0.9, len(scores))
    return recording
