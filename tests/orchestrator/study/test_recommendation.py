"""The verdict: a rule is found better where it is, and not by chance."""

import dataclasses

import numpy as np
import pytest

from orchestrator.criteria import DVAR, FewIterations
from orchestrator.replay.outcome import Outcome
from orchestrator.study.objective import KINDS, Objective
from orchestrator.study.recommendation import Comparison, compare, compare_all, recommended, saving_interval
from orchestrator.study.result import judge, marked
from trainables.errors import InvalidInput

SHARES = np.linspace(1.0, 0.05, 39)


def needs(rng, concepts, spread=0.4):
    """Steps after which each concept keeps enough, of a budget of 400."""
    return np.exp(rng.normal(np.log(120), spread, size=concepts)).clip(20, 390)


def table_of(need, cost_of_share):
    """Settings from late to early: the stop on each concept, and what it keeps there (90 % where it is needed)."""
    stops = np.array([cost_of_share(share) for share in SHARES])
    return stops, (1 - 0.1 ** (stops / need))


def fixed_table(need):
    return table_of(need, lambda share: np.full(len(need), 400 * share))


def results_of(objective, name, table):
    costs, kept = table
    settings = []
    for row, shares in zip(costs, kept, strict=True):
        outcomes = [
            Outcome(f"c{i}", 0, stop, True, 400, 1.0, share, 1.0)
            for i, (stop, share) in enumerate(zip(row, shares, strict=True))
        ]
        criterion = FewIterations(max(1, int(row[0]))) if name == "few_iterations" else DVAR(20, 0.3)
        settings.append(judge(objective, name, {}, criterion, outcomes))
    return marked(objective, settings)


def cheaper(table, factor):
    costs, kept = table
    return factor * costs, kept


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_cheaper_on_every_concept_is_real_and_a_copy_is_not(kind):
    objective, fixed = Objective(kind=kind), fixed_table(needs(np.random.default_rng(0), 8))
    of_fixed = results_of(objective, "few_iterations", fixed)
    real = compare(objective, results_of(objective, "dvar", cheaper(fixed, 0.7)), of_fixed)
    assert real.is_real
    assert (real.low, real.saving, real.high) == pytest.approx((0.3, 0.3, 0.3))
    copy = compare(objective, of_fixed, of_fixed)
    assert (copy.low, copy.saving, copy.high) == (0, 0, 0)
    assert not copy.is_real
    dearer = compare(objective, results_of(objective, "dvar", cheaper(fixed, 1.3)), of_fixed)
    assert dearer.high == pytest.approx(-0.3)


def test_a_rule_that_knows_what_each_concept_needs_is_real():
    """Its stop is what the concept needs, times a factor: with many concepts that is no matter of chance."""
    need = needs(np.random.default_rng(1), 56, spread=0.25)
    knowing = table_of(need, lambda share: np.minimum(400, need * (0.5 + 3 * share)))
    low, saving, high = saving_interval(Objective(), knowing, fixed_table(need))
    assert 0 < low < saving < high


def test_even_eight_concepts_show_most_of_such_rules():
    """60 draws of concepts whose needs spread as those of the shipped recordings do."""
    objective, real = Objective(), 0
    for seed in range(60):
        need = needs(np.random.default_rng(seed), 8, spread=0.4)
        knowing = table_of(need, lambda share, need=need: np.minimum(400, need * (0.5 + 3 * share)))
        low, _, _ = saving_interval(objective, knowing, fixed_table(need))
        real += low > 0
    assert real >= 30


@pytest.mark.parametrize("concepts", [3, 4, 8, 24])
def test_what_is_no_better_is_seldom_found_real(concepts):
    """200 draws of concepts; the rule's stops vary, with nothing that the concepts need."""
    rng, objective, real = np.random.default_rng(concepts), Objective(), 0
    for _ in range(200):
        need = needs(rng, concepts)
        luck = np.exp(0.15 * rng.normal(size=concepts))
        rule = table_of(need, lambda share, luck=luck: np.minimum(400, 400 * share * luck))
        low, _, _ = saving_interval(objective, rule, fixed_table(need))
        real += low > 0
    assert real <= 20


def test_intervals_are_wider_where_several_rules_are_compared():
    need = needs(np.random.default_rng(2), 12)
    luck = np.exp(0.2 * np.random.default_rng(3).normal(size=12))
    rule = table_of(need, lambda share: np.minimum(400, 400 * share * luck))
    objective = Objective()
    of_rule, of_fixed = results_of(objective, "dvar", rule), results_of(objective, "few_iterations", fixed_table(need))
    alone, of_five = (compare(objective, of_rule, of_fixed, rules=rules) for rules in (1, 5))
    assert (alone.level, of_five.level) == (0.9, 0.98)
    assert of_five.low < alone.low < alone.saving == of_five.saving < alone.high < of_five.high
    both = compare_all(objective, {"dvar": of_rule, "few_iterations": of_fixed, "steps_per_image": of_rule}, of_fixed)
    assert both == {"dvar": alone}


def left_out_cost(table, concepts):
    """What each concept costs under the setting that is chosen on the others, in a plain loop."""
    costs, kept = table
    paid = []
    for concept in concepts:
        others = [other for other in concepts if other != concept]
        chosen = Objective().choose(costs[:, others], kept[:, others])
        paid.append(costs[0 if chosen is None else chosen, concept])
    return np.mean(paid)


def test_both_are_chosen_without_the_concept_on_which_they_are_compared():
    """The interval is that of a jackknife, in plain loops."""
    need = needs(np.random.default_rng(5), 11)
    rule, fixed = table_of(need, lambda share: np.minimum(400, need * 4 * share)), fixed_table(need)

    def log_ratio(concepts):
        return np.log(left_out_cost(rule, concepts) / left_out_cost(fixed, concepts))

    without = [log_ratio([concept for concept in range(11) if concept % 8 != group]) for group in range(8)]
    reach = 1.894579 * np.sqrt(7 / 8 * np.sum((np.array(without) - np.mean(without)) ** 2))  # t of 7 at 95 %
    expected = [1 - np.exp(log_ratio(range(11)) + shift) for shift in (reach, 0, -reach)]
    assert saving_interval(Objective(), rule, fixed) == pytest.approx(expected, rel=1e-5)


def test_a_risk_that_only_all_concepts_can_carry_is_relaxed_for_the_choices_without_some():
    need = needs(np.random.default_rng(6), 9)
    tables = (table_of(need, lambda share: np.minimum(400, need * 4 * share)), fixed_table(need))
    assert Objective(risk=0.1).at_most(8).risk == pytest.approx(1 / 9)
    assert saving_interval(Objective(risk=0.1), *tables)[1] > 0
    with pytest.raises(InvalidInput, match="at least 9 concepts"):
        Objective(risk=0.1).risk_with(8)


def test_where_no_setting_is_good_enough_the_latest_is_paid_wherever_it_stands():
    """For an objective without an order, the first setting need not be the latest."""
    objective, kept = Objective(kind="mean"), np.full((3, 8), 0.5)
    costs = np.array([[10.0] * 8, [100.0] * 8, [50.0] * 8])
    good = np.full((3, 8), 0.95)
    assert saving_interval(objective, (costs, kept), (costs, good)) == pytest.approx((-9, -9, -9))


@pytest.mark.parametrize(("concepts", "is_compared"), [(1, False), (2, False), (3, True)])
def test_too_few_concepts_are_not_compared(concepts, is_compared):
    objective, table = Objective(), fixed_table(needs(np.random.default_rng(0), concepts))
    comparison = compare(
        objective, results_of(objective, "dvar", cheaper(table, 0.7)), results_of(objective, "few_iterations", table)
    )
    assert (comparison is not None) == is_compared


def test_what_keeps_too_little_or_was_tried_on_other_concepts_is_not_compared():
    objective, (costs, kept) = Objective(), fixed_table(needs(np.random.default_rng(0), 8))
    fixed = results_of(objective, "few_iterations", (costs, kept))
    assert compare(objective, results_of(objective, "dvar", (costs, 0.5 * kept)), fixed) is None
    others = results_of(objective, "dvar", (costs[:, :4], kept[:, :4]))
    with pytest.raises(InvalidInput, match="tried on different concepts"):
        compare(objective, [*fixed, *others], fixed)


@pytest.fixture
def named():
    """Make a result of a criterion with a cost, and a comparison of it whose interval begins somewhere."""
    objective = Objective(kind="mean")

    def make(name, cost, kept=0.95):
        outcomes = [Outcome(f"c{i}", 0, cost, True, 400, 1.0, kept, 1.0) for i in range(3)]
        return judge(objective, name, {}, DVAR(20, 0.3), outcomes)

    def comparison(result, fixed, low):
        return Comparison(result, fixed, low + 0.1, low, low + 0.2, 0.9)

    return make, comparison


def test_a_rule_is_recommended_only_where_its_saving_is_real(named):
    make, comparison = named
    fixed, cheap, cheapest, per_image = (
        make("few_iterations", 100), make("hall", 80), make("dvar", 50), make("steps_per_image", 40)
    )  # fmt: skip
    each = (per_image, cheapest, cheap, fixed)
    lucky, real = comparison(cheapest, fixed, -0.1), comparison(cheap, fixed, 0.1)
    assert recommended(each, {}) is fixed
    assert recommended(each, {"dvar": lucky}) is fixed
    assert recommended(each, {"dvar": lucky, "hall": real}) is cheap
    assert recommended(each, {"dvar": comparison(cheapest, fixed, 0.1), "hall": real}) is cheapest
    assert recommended((cheap, fixed, make("dvar", 120)), {"dvar": comparison(cheapest, fixed, 0.1)}) is fixed
    assert recommended((cheapest, cheap), {}) is cheapest  # no fixed number is searched
    too_early = dataclasses.replace(fixed, is_feasible=False)
    assert recommended((cheap, too_early), {}) is cheap
