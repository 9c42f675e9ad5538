"""The objective: what can be promised, and which setting is chosen, against a reference in plain Python."""

import math
from fractions import Fraction
from statistics import fmean, stdev

import numpy as np
import pytest

from orchestrator.study.objective import KINDS, MEAN_LCB, RELIABLE, Objective
from trainables.errors import InvalidInput

RISKS = ["1/20", "1/10", "1/9", "1/5", "1/4", "1/3", "1/2", "9/10"]


@pytest.mark.parametrize("risk", RISKS)
def test_what_can_be_promised_in_exact_fractions(risk):
    """Of n concepts f may fail while (f + 1) / (n + 1) <= risk; without any f, the promise is refused."""
    exact, objective = Fraction(risk), Objective(risk=float(Fraction(risk)))
    for concepts in range(1, 41):
        allowed = [failures for failures in range(concepts + 1) if Fraction(failures + 1, concepts + 1) <= exact]
        assert objective.carries(concepts) == bool(allowed)
        if allowed:
            assert objective.risk_with(concepts) == float(exact)
            assert objective.allowed_failures(concepts) == max(allowed)
            continue
        needed = math.ceil(1 / exact) - 1
        with pytest.raises(InvalidInput, match=rf"with {concepts} tuning concepts .* on at least {needed} concepts"):
            objective.allowed_failures(concepts)
        assert objective.carries(needed)
        assert not objective.carries(needed - 1)


def test_unless_a_risk_is_asked_for_it_is_a_quarter_or_the_least_that_is_possible():
    for concepts in range(1, 41):
        risk = max(Fraction(1, 4), Fraction(1, concepts + 1))
        assert Objective().risk_with(concepts) == float(risk)
        assert Objective().allowed_failures(concepts) == math.floor(risk * (concepts + 1)) - 1
        assert Objective().carries(concepts)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"risk": 0.0}, "risk must lie strictly between 0 and 1, got 0.0"),
        ({"risk": 1.0}, "got 1.0"),
        ({"risk": float("nan")}, "got nan"),
        ({"kind": "mean", "risk": 0.2}, "'mean' promises no share of concepts"),
        ({"kind": "men"}, "unknown objective 'men'; did you mean 'mean'"),
    ],
)
def test_impossible_promises(values, message):
    with pytest.raises(InvalidInput, match=message):
        Objective(**values)


def lacks(objective, kept):
    """By how much a setting falls short, and 0 or less where it does not."""
    if objective.kind == RELIABLE:
        failures = sum(share < objective.quality_kept - 1e-9 for share in kept)
        allowed = max(
            (f for f in range(len(kept)) if (f + 1) / (len(kept) + 1) <= objective.risk_with(len(kept)) + 1e-9),
        )
        return (failures - allowed) / len(kept)
    error = stdev(kept) / math.sqrt(len(kept)) if objective.kind == MEAN_LCB and len(kept) > 1 else 0.0
    return objective.quality_kept - (fmean(kept) - error)


def feasible_settings(objective, kept):
    """Those that keep enough; of an ordered family, only those before the first that does not."""
    enough = [lacks(objective, row) <= 1e-9 for row in kept]
    if objective.kind != RELIABLE:
        return [index for index, is_enough in enumerate(enough) if is_enough]
    return list(range(enough.index(False) if False in enough else len(enough)))


def random_table(rng):
    """Costs and shares in coarse steps, so that there are ties; most families get earlier and worse, some do not."""
    settings, concepts = int(rng.integers(1, 13)), int(rng.integers(1, 13))
    costs = rng.integers(1, 6, size=(settings, concepts)).astype(float)
    kept = rng.integers(5, 11, size=(settings, concepts)) / 10
    if rng.random() < 0.7:
        costs, kept = -np.sort(-costs, axis=0), -np.sort(-kept, axis=0)
    if rng.random() < 0.3:
        kept[: int(rng.integers(settings + 1))] = 0.5  # quality falls at the end: late settings fail
    return costs, kept


@pytest.mark.parametrize("kind", KINDS)
def test_the_choice_on_random_tables_is_that_of_plain_python(kind):
    rng, found = np.random.default_rng(0), []
    for _ in range(400):
        costs, kept = random_table(rng)
        objective = Objective(float(rng.integers(5, 10)) / 10, kind=kind)
        assert objective.shortfall(kept) == pytest.approx([lacks(objective, row) for row in kept.tolist()])
        expected = feasible_settings(objective, kept.tolist())
        assert np.flatnonzero(objective.feasible(kept)).tolist() == expected
        ranks = {index: (round(fmean(costs[index]), 9), -fmean(kept[index]), index) for index in expected}
        chosen = objective.choose(costs, kept)
        found.append(chosen)
        assert (chosen is None) == (not expected)
        if chosen is not None:
            assert ranks[chosen][:2] == pytest.approx(min(ranks.values())[:2])
    assert 20 < sum(chosen is None for chosen in found) < 380


@pytest.mark.parametrize("kind", KINDS)
def test_many_choices_at_once_are_those_made_singly(kind):
    rng, objective = np.random.default_rng(1), Objective(0.8, kind=kind)
    costs, kept = -np.sort(-rng.random((20, 15)), axis=0), 1 - np.sort(0.4 * rng.random((20, 15)), axis=0)
    drawn = rng.integers(15, size=(50, 8))
    expected = [objective.choose(costs[:, columns], kept[:, columns]) for columns in drawn]
    assert len(set(expected)) >= 3
    assert objective.choose_each(costs[:, drawn], kept[:, drawn]).tolist() == [
        -1 if chosen is None else chosen for chosen in expected
    ]


def test_a_setting_counts_only_if_every_later_one_keeps_enough():
    """What fails once is not trusted after that; where the latest fails, as quality falls at the end, none is."""
    good, bad = [0.95, 0.95, 0.95], [0.95, 0.8, 0.95]
    costs = [[4.0] * 3, [3.0] * 3, [2.0] * 3, [1.0] * 3]
    assert Objective().feasible([good, good, bad, good]).tolist() == [True, True, False, False]
    assert Objective().choose(costs, [good, good, bad, good]) == 1
    assert Objective(kind="mean").choose(costs, [good, good, bad, good]) == 3
    assert Objective().choose(costs, [bad, good, good, good]) is None


def test_what_was_not_measured_keeps_nothing():
    assert Objective().falls_below([math.nan, 0.95]).tolist() == [True, False]


def test_the_promise_is_not_broken_by_beginning_wherever_it_is_good():
    """A family whose every member fails in 40 % of the concepts: few draws may find a setting at all."""
    rng, chosen = np.random.default_rng(0), 0
    for _ in range(300):
        fails = rng.random((60, 8)) < 0.4
        kept, costs = np.where(fails, 0.8, 0.95), np.tile(np.arange(60.0, 0.0, -1.0)[:, None], (1, 8))
        chosen += Objective().choose(costs, kept) is not None
    assert chosen < 75


def test_of_equally_cheap_settings_that_which_keeps_most():
    costs = [[2.0, 2.0], [1.0, 3.0], [3.0, 1.0]]
    kept = [[0.91, 0.95], [0.95, 0.99], [0.92, 0.93]]
    for kind in KINDS:
        assert Objective(0.9, kind=kind, risk=0.5 if kind == RELIABLE else None).choose(costs, kept) == 1
