"""`dvar compare`: every row is the replay of its own criterion."""

from statistics import fmean
from types import SimpleNamespace

import pytest

from orchestrator.commands import compare
from orchestrator.config.load import build
from orchestrator.criteria import DVAR, Never
from orchestrator.replay.replay import live_outcome, replay


@pytest.fixture
def recordings(make_recording):
    return [make_recording(name, 200, rate=10 + 8 * i) for i, name in enumerate("abc")]


@pytest.fixture
def context(recordings):
    said = []
    experiment = build(None, None, [("budget", 200)])
    return SimpleNamespace(experiment=experiment, recordings=lambda concepts: recordings, said=said, say=said.append)


def test_each_row_is_what_its_criterion_costs_and_keeps(context, recordings, monkeypatch):
    monkeypatch.setattr(compare, "_live_outcomes", lambda *arguments: [])
    tuned = DVAR(40, 0.3)
    rows = compare._measure(context, [], tuned, "train_clip_image").rows
    expected = {"full budget": Never(), "DVAR, paper's setting": DVAR(10, 0.15), "DVAR, tuned": tuned}
    assert [row.name for row in rows] == [*expected]
    assert len({row.summary.iterations.mean for row in rows}) == 3
    for row, criterion in zip(rows, expected.values(), strict=True):
        outcomes = [replay(criterion, recording) for recording in recordings]
        assert row.summary.iterations.mean == fmean(outcome.stop_step for outcome in outcomes)
        assert row.summary.quality_kept.mean == pytest.approx(fmean(outcome.quality_kept for outcome in outcomes))
        assert row.summary.seconds.mean == pytest.approx(fmean(outcome.seconds for outcome in outcomes))


def test_only_the_runs_that_stop_where_their_replay_does_agree(context, recordings, make_recording):
    criterion = DVAR(40, 0.3)
    stops = [replay(criterion, recording).stop_step for recording in recordings]
    steps = [stops[0], stops[1] + 1, stops[2]]
    runs = [make_recording(name, 200, steps=count, state="stopped") for name, count in zip("abc", steps, strict=True)]
    live = [live_outcome(run, full) for run, full in zip(runs, recordings, strict=True)]
    compare.say_agreement(context, live, recordings, criterion, "train_clip_image")
    assert context.said == ["live and replayed stop at the same step: 2 of 3 concepts"]
