"""`dvar compare`: every row is the replay of its own criterion."""

from statistics import fmean
from types import SimpleNamespace

import pytest

from orchestrator.commands import compare
from orchestrator.config.load import build
from orchestrator.criteria import DVAR, FewIterations, Never
from orchestrator.replay.replay import live_outcome, replay
from orchestrator.study.best import Best, Choice


@pytest.fixture
def recordings(make_recording):
    return [make_recording(name, 200, rate=10 + 8 * i) for i, name in enumerate("abc")]


@pytest.fixture
def context(recordings):
    said = []
    experiment = build(None, None, [("budget", 200)])
    return SimpleNamespace(experiment=experiment, recordings=lambda concepts: recordings, said=said, say=said.append)


def setting(first, *others):
    """The file of a best setting: what is recommended, and what was chosen of other criteria."""
    choices = [Choice(criterion=name, params=params) for name, params in others]
    name, params = first
    about = {"tuned_on": ["z"], "method": "textual_inversion", "base_model": "miniature", "budget": 200}
    measured = {"quality_kept_wanted": 0.9, "quality_kept": 0.9, "iterations": 9.0, "is_feasible": True, "trials": 1}
    return Best(criterion=name, params=params, measure="train_clip_image", choices=choices, **about, **measured)


def test_each_row_is_what_its_criterion_costs_and_keeps(context, recordings, monkeypatch):
    monkeypatch.setattr(compare, "_live_outcomes", lambda *arguments: [])
    choices = [("dvar", {"window": 40, "threshold": 0.3}), ("few_iterations", {"steps": 77})]
    rows = compare._measure(context, [], setting(*choices)).rows
    expected = {
        "full budget": Never(),
        "DVAR, paper's setting": DVAR(10, 0.15),
        "DVAR, tuned": DVAR(40, 0.3),
        "fixed number, tuned": FewIterations(77),
    }
    assert [row.name for row in rows] == [*expected]
    assert len({row.summary.iterations.mean for row in rows}) == 4
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


def test_live_runs_of_every_choice_have_a_row_of_their_own(context, recordings, make_recording, monkeypatch):
    """Of each criterion that ran, its own runs are shown, and compared with its own replay."""
    fixed, dvar = FewIterations(50), DVAR(40, 0.3)

    def outcomes(of, concepts, full, criterion, metric):
        runs = [make_recording(recording.concept, 200, steps=50, state="stopped") for recording in full]
        pairs = zip(runs, full, strict=True)
        return [live_outcome(run, recording, metric) for run, recording in pairs] if criterion == fixed else []

    monkeypatch.setattr(compare, "_live_outcomes", outcomes)
    choices = [("few_iterations", {"steps": 50}), ("dvar", {"window": 40, "threshold": 0.3})]
    comparison = compare._measure(context, [], setting(*choices))
    assert list(comparison.live) == [fixed]
    assert [row.name for row in comparison.rows][-3:] == [
        "fixed number, tuned",
        "DVAR, tuned",
        "fixed number, tuned, live",
    ]
    assert [row.summary.iterations.mean for row in comparison.rows][-1] == 50
    assert [recording.concept for recording in comparison.of_live_seed] == ["a", "b", "c"]
    assert dvar not in comparison.live
