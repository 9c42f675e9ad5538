"""Runs: reports, exact stops, resume, snapshots and failures, against a sink in memory."""

import numpy as np
import pytest

from trainables.errors import InvalidInput
from trainables.methods import MethodSpec
from trainables.methods.textual_inversion import TextualInversion
from trainables.quality.clip import QualityProbe
from trainables.settings import (
    CHEAP,
    BaseModelSettings,
    HeldOutSettings,
    LDetSchedule,
    QualitySettings,
    StratifiedBatchSettings,
)
from trainables.training import run as training_run
from trainables.training.config import RunConfig
from trainables.training.run import Preempted, TrainingRun
from trainables.training.training import NonFiniteLossError

QUALITY = QualitySettings(every=4, samples=1, inference_steps=2)


class Exploding(TextualInversion):
    """Textual Inversion whose embedding becomes NaN in the third step."""

    def loss(self, base, inputs):
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls == 3:
            self.load_state_dict({"vectors": self.state_dict()["vectors"] * float("nan")})
        return super().loss(base, inputs)


class StopAt:
    """Fires at the n-th value."""

    def __init__(self, count):
        self.left = count

    def update(self, value):
        self.left -= 1
        return self.left <= 0


def l_det(sink):
    return [row.l_det for row in sink.rows]


def reported(progress):
    return [value for report in progress for value in report.l_det]


@pytest.mark.parametrize("report_steps", [1, 5, 7, 50, None])
def test_every_value_is_recorded_and_reported_once(run_training, memory_sink, report_steps):
    sink = memory_sink()
    progress = run_training(sink, report_steps=report_steps)
    assert len(sink.rows) == 12
    assert reported(progress) == l_det(sink)
    assert sink.end == ("complete", "the budget is used up at step 12")


@pytest.mark.parametrize("report_steps", [1, 7, 50])
def test_no_step_is_trained_beyond_the_stop(run_training, memory_sink, report_steps):
    sink = memory_sink()
    progress = run_training(sink, report_steps=report_steps, criterion=lambda: StopAt(9))
    assert len(sink.rows) == 9
    assert progress[-1].state == "stopped"
    assert sink.end == ("stopped", "the criterion fired at step 9")


@pytest.mark.parametrize("interrupted_after", [1, 2])
def test_an_interrupted_run_continues_exactly(run_training, memory_sink, interrupted_after):
    whole, parts = memory_sink(), memory_sink()
    run_training(whole)
    run_training(parts, reports=interrupted_after)
    progress = run_training(parts)
    assert l_det(parts) == l_det(whole)
    assert progress[0].first_step == 1
    assert reported(progress) == l_det(whole)


def test_steps_after_the_checkpoint_are_repeated_not_doubled(run_training, memory_sink):
    whole, parts = memory_sink(), memory_sink()
    run_training(whole)
    run_training(parts, reports=1)
    first_checkpoint = parts.saved
    run_training(parts, reports=1)
    parts.saved = first_checkpoint
    run_training(parts)
    assert "resumed 5" in parts.calls
    assert l_det(parts) == l_det(whole)


def test_an_interrupted_run_leaves_a_checkpoint(run_training, memory_sink, models, toy_concepts):
    whole = memory_sink()
    run_training(whole)
    method = MethodSpec("trainables.methods.textual_inversion")
    config = RunConfig(BaseModelSettings(), method, budget=12, report_steps=100, checkpoint_seconds=1000.0)

    class Sink(memory_sink):
        def steps(self, rows):
            super().steps(rows)
            if len(self.rows) == 7:
                interrupted.interrupt()

    sink = Sink()
    interrupted = TrainingRun(models, config, toy_concepts[0], sink)
    with pytest.raises(Preempted, match="was interrupted; it continues after step 7"):
        interrupted.advance()
    interrupted.close()
    assert (sink.saved[0], sink.end) == (7, None)
    run_training(sink)
    assert "resumed 7" in sink.calls
    assert l_det(sink) == l_det(whole)


def test_the_stop_is_the_same_after_an_interruption(run_training, memory_sink):
    sink = memory_sink()
    run_training(sink, reports=1, criterion=lambda: StopAt(9))
    run_training(sink, criterion=lambda: StopAt(9))
    assert len(sink.rows) == 9


def test_snapshots_at_the_start_on_the_way_and_at_the_end(run_training, memory_sink):
    sink = memory_sink()
    run_training(sink, budget=10, quality=QUALITY)
    assert list(sink.snapshots) == [0, 4, 8, 10]
    scores, files = sink.snapshots[8]
    assert set(scores) == {"train_clip_image", "val_clip_image", "val_clip_text"}
    assert files == ["learned_embeds.safetensors", "samples.png"]


def test_snapshots_change_nothing_in_training(run_training, memory_sink):
    with_samples, without = memory_sink(), memory_sink()
    run_training(with_samples, quality=QUALITY)
    run_training(without)
    assert l_det(with_samples) == l_det(without)
    assert without.snapshots[12] == ({}, ["learned_embeds.safetensors"])


def test_nan_keeps_what_was_recorded_and_names_concept_and_step(run_training, memory_sink, toy_concepts):
    sink = memory_sink()
    with pytest.raises(NonFiniteLossError):
        run_training(sink, method=Exploding)
    state, reason = sink.end
    assert state == "failed"
    assert toy_concepts[0].name in reason
    assert "at step 3" in reason
    assert len(sink.rows) == 2


def test_a_damaged_checkpoint_is_named(run_training, memory_sink):
    sink = memory_sink()
    run_training(sink, reports=1)
    file = sink.saved[1] / "training.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InvalidInput, match=r"training\.safetensors cannot be read"):
        run_training(sink)


def test_the_models_are_reusable_after_a_failed_start(run_training, memory_sink):
    class Broken(memory_sink):
        def started(self, facts):
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run_training(Broken())
    sink = memory_sink()
    run_training(sink, budget=2)
    assert len(sink.rows) == 2


def test_facts_describe_every_fixed_input(run_training, memory_sink):
    sink = memory_sink()
    run_training(sink, budget=1)
    inputs = sink.facts["fixed_inputs"]
    assert len(inputs) == 8
    assert set(inputs[0]) == {"image", "caption", "timestep"}
    assert len({input_["timestep"] for input_ in inputs}) == 8
    assert len(sink.facts["initial_losses"]) == 8
    assert np.mean(sink.facts["initial_losses"]) == pytest.approx(sink.rows[0].l_det, rel=0.2)


def test_a_checkpoint_that_takes_long_is_written_less_often(run_training, memory_sink, monkeypatch):
    class SlowSink(memory_sink):
        saves = 0

        def checkpoint(self, step, files):
            super().checkpoint(step, files)
            SlowSink.saves += 1
            clock[0] += 100.0

    clock = [0.0]
    monkeypatch.setattr(training_run.time, "monotonic", lambda: clock[0])
    original = training_run.TrainingRun._step

    def step(self):
        clock[0] += 10.0
        return original(self)

    monkeypatch.setattr(training_run.TrainingRun, "_step", step)
    run_training(SlowSink(), budget=60, report_steps=1, checkpoint_seconds=5.0)
    assert SlowSink.saves == 1  # at step 1; the next would be due 2,000 seconds later


def test_facts_hold_the_methods_setting_of_dvar(run_training, memory_sink):
    sink = memory_sink()
    run_training(sink, budget=2)
    assert sink.facts["usual"] == {"budget": 6100, "window": 310, "threshold": 0.15}


BATCHES = {
    "stratified_batch": StratifiedBatchSettings(),
    "held_out": HeldOutSettings(images=1, size=4),
}


def test_facts_say_whose_batch_every_input_is_and_what_evaluations_cost(run_training, memory_sink, toy_concepts):
    sink = memory_sink()
    run_training(sink, budget=2, concept=toy_concepts[0].holding_out(1), **BATCHES)
    batches = [about.get("batch", "paper") for about in sink.facts["fixed_inputs"]]
    assert batches == ["paper"] * 8 + ["stratified"] * 8 + ["held_out"] * 4
    assert len(sink.facts["initial_losses"]) == len(sink.rows[0].input_losses) == 20
    assert set(sink.facts["l_det_costs"]) == {"paper", "stratified", "held_out"}


@pytest.mark.parametrize("interrupted_after", [1, 2])
def test_all_batches_continue_exactly(run_training, memory_sink, toy_concepts, interrupted_after):
    options = BATCHES | {"concept": toy_concepts[0].holding_out(1)}
    whole, parts = memory_sink(), memory_sink()
    run_training(whole, **options)
    run_training(parts, reports=interrupted_after, **options)
    run_training(parts, **options)
    assert [row.input_losses for row in parts.rows] == [row.input_losses for row in whole.rows]


def test_a_live_run_draws_only_the_batches_of_its_criterion():
    class Criterion:
        needs_l_det, l_det_schedule = True, CHEAP

        def online(self):
            return StopAt(9)

    method = MethodSpec("trainables.methods.textual_inversion")
    full = RunConfig(
        BaseModelSettings(),
        method,
        budget=12,
        stratified_batch=StratifiedBatchSettings(),
        held_out=HeldOutSettings(images=1),
    )
    live = full.under(Criterion())
    assert (live.fixed_batch, live.stratified_batch, live.held_out) == (None, StratifiedBatchSettings(), None)
    Criterion.l_det_schedule = LDetSchedule(batch="gap")
    live = full.under(Criterion())
    assert (live.fixed_batch, live.stratified_batch, live.held_out) == (full.fixed_batch, None, full.held_out)
    Criterion.needs_l_det = False
    live = full.under(Criterion())
    assert (live.fixed_batch, live.stratified_batch, live.held_out) == (None, None, None)


def test_a_live_run_times_nothing_beforehand(run_training, memory_sink):
    sink = memory_sink()
    run_training(sink, budget=2, criterion=lambda: StopAt(9))
    assert "l_det_costs" not in sink.facts


REPEATED = QualitySettings(every=4, samples=1, inference_steps=2, repeats=3)


def test_the_end_is_scored_again_with_other_noise(run_training, memory_sink):
    once, repeated = memory_sink(), memory_sink()
    run_training(once, budget=8, quality=QUALITY)
    run_training(repeated, budget=8, quality=REPEATED)
    assert repeated.snapshots == once.snapshots
    assert l_det(repeated) == l_det(once)
    assert {step for step, scores in repeated.repeated_scores.items() if scores} == {8}
    scores = repeated.repeated_scores[8]
    assert {name: len(values) for name, values in scores.items()} == dict.fromkeys(once.snapshots[8][0], 3)
    assert len({once.snapshots[8][0]["train_clip_image"], *scores["train_clip_image"]}) == 4


def test_repeats_that_were_interrupted_are_taken_again(run_training, memory_sink, monkeypatch):
    whole, parts = memory_sink(), memory_sink()
    run_training(whole, budget=8, quality=REPEATED)
    measure = QualityProbe.measure

    def dying(self, repeat=0):
        if repeat == 2:
            raise KeyboardInterrupt
        return measure(self, repeat)

    monkeypatch.setattr(QualityProbe, "measure", dying)
    with pytest.raises(KeyboardInterrupt):
        run_training(parts, budget=8, quality=REPEATED)
    assert 8 not in parts.snapshots
    monkeypatch.setattr(QualityProbe, "measure", measure)
    run_training(parts, budget=8, quality=REPEATED)
    assert parts.repeated_scores[8] == whole.repeated_scores[8]
    assert l_det(parts) == l_det(whole)


def test_a_run_that_a_criterion_ends_is_scored_once(run_training, memory_sink):
    sink = memory_sink()
    run_training(sink, budget=8, quality=REPEATED, criterion=lambda: StopAt(99))
    assert not any(sink.repeated_scores.values())
