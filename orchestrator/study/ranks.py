"""Ranks of rules over methods, and how far apart two mean ranks must be to differ by more than chance."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import rankdata, studentized_range


def mean_ranks(costs: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return each rule's mean rank over methods; the cheapest rule of a method has rank 1, equals share theirs.

    Example:
        >>> mean_ranks({"fixed": [1.0, 1.0], "dvar": [0.8, 1.1]})
        {'fixed': 1.5, 'dvar': 1.5}

    Args:
        costs: for each rule, its cost on every method, in the same order.
    """
    ranks = rankdata(np.array(list(costs.values())), axis=0).mean(axis=1)
    return dict(zip(costs, ranks.tolist(), strict=True))


def critical_difference(rules: int, methods: int, error: float = 0.05) -> float:
    """Return by how much two mean ranks must differ (Nemenyi's test; Demsar, 2006, section 3.2.2).

    Example:
        >>> round(critical_difference(rules=4, methods=14), 2)
        1.25

    Args:
        rules: number of rules, at least 2.
        methods: number of methods, at least 1.
        error: probability of a difference by chance alone, between 0 and 1.
    """
    quantile = float(studentized_range.ppf(1 - error, rules, math.inf)) / math.sqrt(2)
    return quantile * math.sqrt(rules * (rules + 1) / (6 * methods))
