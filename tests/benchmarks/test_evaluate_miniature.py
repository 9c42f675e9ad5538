"""What the evaluation of the miniature says about DVAR, against a computation by hand on synthetic curves."""

from statistics import fmean

import numpy as np
import pytest
import torch
from PIL import Image

from tests.benchmarks import evaluate_miniature
from tests.benchmarks.evaluate_miniature import (
    THRESHOLDS,
    WINDOW_SHARES,
    DvarOutcome,
    best_stop,
    dvar_metrics,
    sheet,
    stop_steps,
)
from trainables.miniature.curves import TrainingCurve

pytestmark = pytest.mark.model

BUDGET = 60


def make_curve(seed, scores, concept=None, images=(), steps=range(0, BUDGET + 1, 10)):
    """A noisy, decaying L_det far from zero, with seven snapshots."""
    rng = np.random.default_rng(seed)
    l_det = 100 + np.exp(-np.arange(BUDGET) / rng.uniform(4, 12)) + 0.02 * rng.normal(size=BUDGET)
    losses = torch.tensor(rng.normal(size=BUDGET))
    return TrainingCurve(concept, torch.tensor(l_det), losses, [*steps], scores, 0.7, images)


@pytest.fixture
def curves():
    rising = torch.tensor([0.3, 0.4, 0.5, 0.56, 0.6, 0.59, 0.58])
    return [make_curve(seed, rising + shift) for seed, shift in ((0, 0.0), (1, 0.05), (2, 0.1))]


def stop_by_hand(values, window, threshold):
    """The definition, step by step; the last step where the condition never holds."""
    for step in range(window + 1, len(values) + 1):
        if values[step - window : step].var() < threshold * values[:step].var():
            return step
    return len(values)


def kept_by_hand(curve, stop):
    past = [float(score) for step, score in zip(curve.steps, curve.scores, strict=True) if step <= stop]
    return past[-1] / max(curve.scores.tolist())


def outcomes_by_hand(curves):
    """Every setting that the evaluation tries, with its mean stop and the mean quality there."""
    for window in sorted({max(2, round(0.01 * share * BUDGET)) for share in range(1, 45)}):
        for threshold in (0.01 * hundredths for hundredths in range(1, 96)):
            stops = [stop_by_hand(curve.l_det.numpy(), window, threshold) for curve in curves]
            kept = [kept_by_hand(curve, stop) for curve, stop in zip(curves, stops, strict=True)]
            yield DvarOutcome(window, threshold, fmean(stops) / BUDGET, fmean(kept))


@pytest.mark.parametrize(("window", "threshold"), [(10, 0.1), (26, 0.2), (40, 0.9), (20, 1e-4)])
def test_a_stop_is_that_of_the_definition(curves, window, threshold):
    by_hand = [stop_by_hand(curve.l_det.numpy(), window, threshold) for curve in curves]
    assert [stop_steps(curve, [window], [threshold]).tolist() for curve in curves] == [[[stop]] for stop in by_hand]


@pytest.mark.parametrize(("values", "window", "stop"), [
    ([1.0] * 3 + [0.0] * 40, 10, 13),
    ([float(i % 2) for i in range(30)], 5, 30),
])  # fmt: skip
def test_a_curve_that_never_stops_uses_its_whole_budget(curves, values, window, stop):
    curve = TrainingCurve(None, torch.tensor(values, dtype=torch.float64), None, [], None, 0.0, [])
    assert stop_steps(curve, [window], [0.1]).tolist() == [[stop]]


def test_the_best_stop_is_the_earliest_that_keeps_95_percent(curves):
    outcomes = list(outcomes_by_hand(curves))
    good = [outcome for outcome in outcomes if outcome.quality_kept >= 0.95]
    expected = min(good, key=lambda outcome: outcome.budget_used)
    assert 0 < len(good) < len(outcomes)
    best = best_stop(curves)
    assert (best.window, best.threshold) == (expected.window, expected.threshold)
    assert best.budget_used == pytest.approx(expected.budget_used)
    assert best.quality_kept == pytest.approx(expected.quality_kept)
    assert best.budget_used < 0.9


def test_where_nothing_keeps_95_percent_the_best_stop_is_one_that_keeps_most():
    # The best score is that before training, and no window lets a curve stop before its second snapshot.
    scores, steps = torch.tensor([1.0, 0.2, 0.3, 0.5, 0.4, 0.3, 0.3]), (0, 2, 20, 30, 40, 50, 60)
    curves = [make_curve(seed, scores, steps=steps) for seed in (0, 1)]
    kept = {(outcome.window, outcome.threshold): outcome.quality_kept for outcome in outcomes_by_hand(curves)}
    best = best_stop(curves)
    assert best.quality_kept == pytest.approx(max(kept.values()))
    assert best.quality_kept == pytest.approx(kept[best.window, best.threshold])
    assert min(kept.values()) < best.quality_kept < 0.95


def test_windows_and_thresholds_span_the_documented_4180_settings():
    assert len(WINDOW_SHARES) * len(THRESHOLDS) == 4180
    assert (min(WINDOW_SHARES), max(WINDOW_SHARES)) == pytest.approx((0.01, 0.44))
    assert (min(THRESHOLDS), max(THRESHOLDS)) == pytest.approx((0.01, 0.95))


def test_metrics_give_the_share_of_the_budget_and_of_the_best_score(curves):
    best = best_stop(curves)
    budget_used, quality_kept = dvar_metrics(curves, "svdiff")
    assert (budget_used.value, quality_kept.value) == (best.budget_used, best.quality_kept)
    assert budget_used.name == f"svdiff: DVAR(N={best.window}, alpha={best.threshold:g}): share of the budget"
    assert budget_used.is_met == (best.budget_used <= 0.4)
    assert quality_kept.is_met


def test_the_sheet_shows_the_samples_at_the_stop(toy_concepts, monkeypatch):
    images = [[Image.new("RGB", (64, 64), (40 * index, 0, 255))] * 8 for index in range(7)]
    curve = make_curve(0, torch.tensor([0.3, 0.4, 0.5, 0.56, 0.6, 0.59, 0.58]), toy_concepts[0], images)
    best = best_stop([curve])
    shown = []
    monkeypatch.setattr(evaluate_miniature, "figure", lambda rows, columns: shown.extend(rows))
    sheet([curve])
    (row,) = shown
    stop = stop_by_hand(curve.l_det.numpy(), best.window, best.threshold)
    assert row.notes == {"at the stop": f"step {stop}", "at the full budget": "step 60"}
    assert row.groups["before"] == images[0]
    assert row.groups["at the stop"] == images[stop // 10]
    assert row.groups["new contexts, at the stop"] == images[stop // 10][4:]
    assert row.groups["at the full budget"] == images[6]
    monkeypatch.undo()
    assert sheet([curve]).width > 4 * 96
