"""Ranks over methods, and the difference that two mean ranks must have."""

import pytest

from orchestrator.study.ranks import critical_difference, mean_ranks


def test_mean_ranks_share_ties():
    ranks = mean_ranks({"a": [1.0, 3.0, 2.0], "b": [2.0, 1.0, 2.0], "c": [3.0, 2.0, 5.0]})
    assert ranks == pytest.approx({"a": (1 + 3 + 1.5) / 3, "b": (2 + 1 + 1.5) / 3, "c": (3 + 2 + 3) / 3})


@pytest.mark.parametrize(("rules", "methods", "expected"), [(2, 10, 0.620), (4, 14, 1.253), (5, 30, 1.114)])
def test_the_critical_difference_is_demsars(rules, methods, expected):
    """With q of .05 from table 5(a) there: 1.960, 2.569 and 2.728."""
    assert critical_difference(rules, methods) == pytest.approx(expected, abs=0.001)
