"""Full-length and live runs on a real Ray cluster."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from orchestrator import runs
from orchestrator.config.load import build
from orchestrator.criteria import DVAR, ClipScore, Criterion, FewIterations
from orchestrator.replay.l_det import l_det_series
from orchestrator.replay.replay import replay
from orchestrator.report.figures.demo import demo_picture
from trainables.errors import InvalidInput
from trainables.settings import CHEAP, GAP, HELD_OUT, PAPER, STRATIFIED, LDetSchedule

pytestmark = pytest.mark.usefixtures("cluster")


def test_recordings_hold_all_steps_and_snapshots(recorded, toy_concepts):
    experiment, concepts, recordings = recorded
    for concept, recording in zip(concepts, recordings, strict=True):
        assert recording.concept == concept.name
        assert len(recording.steps) == experiment.budget
        assert recording.quality.steps.tolist() == [0, 20, 40]
        assert np.isfinite(recording.steps.l_det).all()
        assert np.array_equal(recording.steps.l_det, recording.losses_of(PAPER).mean(axis=1))
        assert (recording.steps.seconds > 0).all()


def test_what_is_complete_is_not_recorded_again(recorded, listener):
    experiment, concepts, _ = recorded
    ended = runs.record(experiment, concepts, [listener])
    assert not listener.started
    assert [result.is_new for result in ended] == [False, False]


@pytest.mark.parametrize("report_steps", [1, 7, 50])
def test_the_live_stop_is_the_replayed_one_for_every_report_batch(recorded, make_experiment, listener, report_steps):
    experiment, concepts, recordings = recorded
    criterion = DVAR(window=6, threshold=0.3)
    expected = [replay(criterion, recording).stop_step for recording in recordings]
    assert all(step < experiment.budget for step in expected)
    live = make_experiment(resources__report_steps=report_steps)
    ended = runs.live(live, concepts, criterion, [listener])
    assert [result.state for result in ended] == ["stopped", "stopped"]
    assert [result.steps for result in ended] == expected
    for result, full in zip(ended, recordings, strict=True):
        name = result.spec.concept
        series = full.steps.l_det[: result.steps].tolist()
        assert runs.live_runs(live).find(result.spec.identity).steps.l_det.tolist() == series
        assert listener.l_det(name) == series
        assert max(len(report.l_det) for report in listener.reports[name]) <= report_steps


@pytest.mark.parametrize("criterion", [DVAR(9, 0.5, stride=3), FewIterations(13)], ids=repr)
def test_a_live_run_evaluates_no_more_than_its_criterion_needs(recorded, make_experiment, criterion):
    _, concepts, recordings = recorded
    live = make_experiment(resources__report_steps=5)
    ended = runs.live(live, concepts, criterion)
    assert [result.steps for result in ended] == [replay(criterion, recording).stop_step for recording in recordings]
    for result, full in zip(ended, recordings, strict=True):
        l_det = runs.live_runs(live).find(result.spec.identity).steps.l_det
        evaluated = np.flatnonzero(np.isfinite(l_det))
        every = np.arange(2, result.steps, 3) if criterion.needs_l_det else np.arange(0)
        assert evaluated.tolist() == every.tolist()
        assert np.array_equal(l_det[evaluated], full.steps.l_det[evaluated])


@dataclass(frozen=True)
class Falls(Criterion):
    """Fires when L_det under a schedule has fallen below a level."""

    level: float
    l_det_schedule: LDetSchedule
    series: ClassVar[str | None] = "l_det"

    def holds(self, values):
        return np.nan_to_num(values, nan=np.inf) < self.level

    def condition(self):
        return FallsCondition(self.level)


@dataclass(frozen=True)
class FallsCondition:
    level: float

    def update(self, value):
        return value < self.level


@pytest.fixture(scope="module")
def with_batches(cluster, tmp_path_factory, toy_concepts, small_settings):
    """A concept recorded with all batches: the experiment, the concept, the recording."""
    changes = {"storage": str(tmp_path_factory.mktemp("batches")), "budget": 20, "stratified_batch.every": 1}
    values = small_settings | changes | {"held_out.images": 1, "held_out.size": 4, "quality.repeats": 2}
    experiment = build("miniature", None, list(values.items()))
    concepts = [concept.holding_out(1) for concept in toy_concepts[:1]]
    (ended,) = runs.record(experiment, concepts)
    return experiment, concepts, runs.recordings(experiment).find(ended.spec.identity)


def test_a_recording_holds_every_input_of_every_batch(with_batches):
    experiment, _, recording = with_batches
    sizes = {name: recording.losses_of(name).shape for name in (PAPER, STRATIFIED, HELD_OUT)}
    assert sizes == {PAPER: (20, 8), STRATIFIED: (20, experiment.stratified_batch.size), HELD_OUT: (20, 4)}
    assert np.isfinite(recording.steps.input_losses).all()
    assert np.array_equal(recording.steps.l_det, recording.losses_of(PAPER).mean(axis=1))
    assert {len(scores) for scores in recording.quality.repeated_scores.values()} == {2}


@pytest.mark.parametrize(
    "schedule", [CHEAP, LDetSchedule(2, batch=GAP), LDetSchedule(3, relative=True, batch=HELD_OUT)], ids=str
)
def test_the_live_stop_is_the_replayed_one_for_every_batch(with_batches, schedule):
    experiment, concepts, recording = with_batches
    series = l_det_series(recording, schedule)
    evaluated = np.flatnonzero(np.isfinite(series))
    criterion = Falls(float(np.nanmin(series[: evaluated[-2] + 1])) * (1 + 1e-12) + 1e-12, schedule)
    expected = criterion.first_stop(series)
    assert expected < 20
    (ended,) = runs.live(experiment, concepts, criterion)
    assert (ended.state, ended.steps) == ("stopped", expected)
    live = runs.live_runs(experiment).find(ended.spec.identity)
    np.testing.assert_array_equal(live.steps.l_det, series[:expected])
    assert live.quality.repeated_scores == {}


def test_a_criterion_whose_batch_is_off_is_refused_before_anything_trains(make_experiment, toy_concepts):
    for schedule, key in ((CHEAP, "stratified_batch"), (LDetSchedule(batch=GAP), "held_out")):
        with pytest.raises(InvalidInput, match=rf"batch, but {key} is null; set {key}\."):
            runs.live(make_experiment(stratified_batch=None), toy_concepts[:1], Falls(1.0, schedule))
    with pytest.raises(InvalidInput, match=r"5 inputs at a time, but stratified_batch\.size is 4"):
        runs.live(make_experiment(), toy_concepts[:1], Falls(1.0, LDetSchedule(inputs=5, batch=STRATIFIED)))


def test_a_live_run_exports_what_it_learned(recorded, make_experiment):
    _, concepts, _ = recorded
    live = make_experiment(budget=5)
    (ended,) = runs.live(live, concepts[:1], DVAR(window=3, threshold=0.001))
    store = runs.live_runs(live)
    folder = store.snapshot_folder(ended.spec.key, ended.steps)
    assert sorted(path.name for path in folder.iterdir()) == ["learned_embeds.safetensors", "samples.png"]


def test_nan_fails_its_trial_alone_and_keeps_what_was_recorded(make_experiment, toy_concepts, listener):
    robot = next(concept for concept in toy_concepts if concept.name.startswith("robot"))
    other = next(concept for concept in toy_concepts if concept is not robot)
    experiment = make_experiment(method__name="exploding_method:Exploding", budget=8)
    ended = {result.spec.concept: result for result in runs.record(experiment, [robot, other], [listener])}
    assert ended[other.name].state == "complete"
    failed = ended[robot.name]
    assert (failed.state, failed.steps, failed.is_good) == ("failed", 4, False)
    assert robot.name in failed.reason
    assert "at step 5" in failed.reason
    assert {result.spec.concept for result in listener.results} == set(ended)


def test_a_worker_that_dies_costs_a_line_and_no_step(make_experiment, toy_concepts, capfd, plugin_folder):
    experiment = make_experiment(method__name="dying_method:Dying", budget=8, resources__max_failures=1)
    capfd.readouterr()
    (ended,) = runs.record(experiment, toy_concepts[:1])
    assert (plugin_folder / "died").exists()
    assert (ended.state, ended.steps) == ("complete", 8)
    printed = capfd.readouterr().err
    assert "Traceback" not in printed
    assert printed.count(f"{toy_concepts[0].name}: ") == 1


def test_an_interrupted_recording_goes_on_from_its_checkpoint(recorded, make_experiment, toy_concepts, listener):
    """Interrupt a worker's session by hand; the next `record` continues it, and the series is the undisturbed one."""
    import torch

    from trainables.methods import MethodSpec
    from trainables.training.config import RunConfig
    from trainables.training.run import Models, TrainingRun

    _, concepts, recordings = recorded
    experiment = make_experiment()
    (spec,) = runs.run_specs(experiment, concepts[:1])
    method = MethodSpec("trainables.methods.textual_inversion", experiment.method.settings)
    config = RunConfig(
        experiment.base_model,
        method,
        experiment.budget,
        quality=experiment.quality,
        stratified_batch=experiment.stratified_batch,
        report_steps=9,
        checkpoint_seconds=0,
    )
    torch.set_num_threads(1)  # as on the workers: sums are split by threads
    run = TrainingRun(Models.load(config), config, concepts[0], runs.recordings(experiment).recorder(spec.identity))
    run.advance()
    run.close()
    (ended,) = runs.record(experiment, concepts[:1], [listener])
    assert (ended.state, ended.steps) == ("complete", experiment.budget)
    resumed = runs.recordings(experiment).find(spec.identity)
    assert np.array_equal(resumed.steps.l_det, recordings[0].steps.l_det)
    # What the checkpoint held was not trained again: its measured times are still those of the first session.
    assert listener.reports[concepts[0].name][0].first_step == 1
    assert resumed.quality.scores["train_clip_image"].tolist() == pytest.approx(
        recordings[0].quality.scores["train_clip_image"].tolist()
    )


def test_a_criterion_that_watches_samples_does_not_run_live(make_experiment, toy_concepts):
    with pytest.raises(InvalidInput, match=r"ClipScore.* watches samples"):
        runs.live(make_experiment(), toy_concepts[:1], ClipScore(3, 0.01))


def test_storage_that_cannot_be_written(make_experiment, tmp_path, toy_concepts):
    (tmp_path / "file").write_text("")
    experiment = make_experiment(storage=str(tmp_path / "file" / "below"))
    with pytest.raises(InvalidInput, match="cannot be written"):
        runs.record(experiment, toy_concepts[:1])


def test_an_unknown_method_and_setting_are_found_before_anything_trains(make_experiment, toy_concepts):
    with pytest.raises(InvalidInput, match=r"unknown method 'textual_inversoin'.*did you mean 'textual_inversion'"):
        runs.record(make_experiment(method__name="textual_inversoin"), toy_concepts[:1])
    with pytest.raises(InvalidInput, match="no setting 'lr'; available: learning_rate"):
        runs.record(make_experiment(method__settings={"lr": 1}), toy_concepts[:1])
    with pytest.raises(InvalidInput, match="no setting 'learn_rate'; did you mean 'learning_rate'"):
        runs.record(make_experiment(method__settings={"learn_rate": 1}), toy_concepts[:1])


def test_defaults_that_no_search_could_use_are_found_before_anything_trains(make_experiment, toy_concepts, tmp_path):
    (tmp_path / "without_window.py").write_text(
        "from trainables.methods.textual_inversion import TextualInversion\n\n\n"
        "class WithoutWindow(TextualInversion):\n    window = 0\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        experiment = make_experiment(method__name="without_window:WithoutWindow")
        with pytest.raises(InvalidInput, match="WithoutWindow': window must be a whole number of at least 1, got 0"):
            runs.record(experiment, toy_concepts[:1])
    assert runs.recordings(experiment).list() == []


def test_the_picture_shows_samples_at_the_stop_and_at_the_full_budget(recorded, make_experiment):
    experiment, concepts, recordings = recorded
    criterion, live = DVAR(window=6, threshold=0.3), make_experiment()
    runs.live(live, concepts, criterion)
    places = (
        runs.recordings(experiment),
        runs.run_specs(experiment, concepts),
        runs.live_runs(live),
        runs.run_specs(live, concepts, criterion),
    )
    picture = demo_picture(concepts, *places)
    key = runs.run_specs(live, concepts, criterion)[0].key
    step = replay(criterion, recordings[0]).stop_step
    with Image.open(runs.live_runs(live).snapshot_folder(key, step) / "samples.png") as sheet:
        shown = sheet.crop((0, 0, 64, 64)).resize((96, 96), Image.Resampling.BICUBIC).convert("RGB")
    pieces = {picture.crop((left, 42, left + 96, 138)).tobytes() for left in range(picture.width - 96)}
    assert shown.tobytes() in pieces
