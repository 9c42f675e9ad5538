"""What the evaluation of the miniature says of curves, against values computed by hand."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from trainables.miniature.curves import TrainingCurve

SPEC = importlib.util.spec_from_file_location("evaluate_miniature", Path(__file__).parent / "evaluate_miniature.py")
evaluate_miniature = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(evaluate_miniature)


def curve(l_det, scores, every=10):
    steps = list(range(0, len(l_det) + 1, every))
    values = torch.tensor(l_det, dtype=torch.float64)
    concept = SimpleNamespace(name="toy")
    return TrainingCurve(concept, values, values.clone(), steps, torch.tensor(scores), real=1.0, images=[])


def falling(rate, count=200, seed=0):
    noise = np.random.default_rng(seed).normal(size=count)
    return (np.exp(-np.arange(count) / rate) + 0.02 * noise).tolist()


@pytest.mark.parametrize(
    ("values", "window", "threshold", "stop"),
    [([1.0] * 3 + [0.0] * 40, 10, 0.1, 13), ([float(i % 2) for i in range(30)], 5, 0.1, 30)],
)
def test_stops(values, window, threshold, stop):
    assert evaluate_miniature.stops_of(curve(values, [0.0], every=100), [window], [threshold]).tolist() == [[stop]]


def test_the_best_stop_is_the_earliest_of_all_that_keeps_enough():
    curves = [
        curve(falling(12), [0.1, 0.3, 0.5, 0.7, 0.8] + [0.9] * 16),
        curve(falling(30, seed=1), [0.2] * 3 + [0.8] * 18),
    ]
    window, threshold, share, kept = evaluate_miniature.best_stop(curves)

    def by_hand(window, threshold):
        shares, keeps = [], []
        for curve in curves:
            values = curve.l_det.numpy()
            steps = range(window + 1, 201)
            stop = next((s for s in steps if values[s - window : s].var() < threshold * values[:s].var()), 200)
            shares.append(stop / 200)
            keeps.append((curve.scores[stop // 10] / curve.scores.max()).item())
        return np.mean(shares), np.mean(keeps)

    assert (share, kept) == pytest.approx(by_hand(window, threshold))
    assert kept >= 0.95
    for other in (2, 6, 20, 44, 88):
        for alpha in (0.01, 0.05, 0.15, 0.4, 0.8, 0.95):
            other_share, other_kept = by_hand(other, alpha)
            assert other_kept < 0.95 or other_share >= share - 1e-9


def test_metrics_are_those_of_their_definitions():
    l_det = falling(12)
    only = curve(l_det, np.linspace(0.1, 0.9, 21).tolist())
    covered, correlation, *_ = evaluate_miniature.curve_metrics([only], "x")
    assert covered.value == pytest.approx((0.9 - 0.1) / (1.0 - 0.1))
    expected = np.corrcoef(np.array(l_det)[9::10], np.linspace(0.1, 0.9, 21)[1:])[0, 1]
    assert correlation.value == pytest.approx(expected)
