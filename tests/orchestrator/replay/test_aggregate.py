"""The mean over seeds and then concepts: the same for numbers and for whole planes."""

from statistics import fmean

import numpy as np
import pytest

from orchestrator.replay.aggregate import exact_mean, mean_by_concept


def test_seeds_of_a_concept_are_averaged_in_the_order_of_the_concepts():
    means = mean_by_concept(["b", "a", "b", "b"], [1.0, 5.0, 2.0, 6.0])
    assert list(means.items()) == [("b", 3.0), ("a", 5.0)]


def test_planes_are_averaged_element_by_element():
    planes = np.random.default_rng(0).normal(size=(5, 3, 4))
    means = mean_by_concept(["a", "b", "a", "a", "b"], planes)
    assert means["a"].shape == (3, 4)
    for i, j in np.ndindex(3, 4):
        assert means["a"][i, j] == fmean(planes[[0, 2, 3], i, j].tolist())
        assert means["b"][i, j] == fmean(planes[[1, 4], i, j].tolist())


def test_the_mean_does_not_depend_on_the_order():
    """A plain sum of these gives 0 in one order and 1 in another."""
    values = [np.float64(1e16), np.float64(1.0), np.float64(-1e16)]
    assert {float(exact_mean([values[i] for i in order])) for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2))} == {1 / 3}


def test_a_value_too_few():
    with pytest.raises(ValueError, match="zip"):
        mean_by_concept(["a", "b"], [1.0])
