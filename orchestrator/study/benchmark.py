"""Benchmark: rules chosen on some concepts of a method and applied to its others, on many random splits."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from orchestrator.criteria import Criterion, FewIterations, Never
from orchestrator.recordings.recording import Recording
from orchestrator.replay.replay import Replayer
from orchestrator.replay.tempo import slowed
from orchestrator.study.adaptivity import line_stop, rank_correlation
from orchestrator.study.benchmark_rows import Adaptation, BenchmarkRow, BenchmarkSettings, Carried, Rule, Seen
from orchestrator.study.objective import RELIABLE, Indices, Objective
from orchestrator.study.recommendation import FIXED, FIXED_LABEL, LEAST_CONCEPTS, PER_IMAGE, saving_interval
from orchestrator.study.references import needed_steps
from orchestrator.study.replays import Replays, common_budget
from orchestrator.study.result import TrialResult, judge
from orchestrator.study.search_space import Params, SearchSpace, stated_defaults
from orchestrator.study.splits import (
    GROUP_SPLITS,
    Applied,
    AppliedSets,
    FamilyTable,
    Splits,
    SplitSets,
    ratio,
    ratio_of_pairs,
)
from trainables.errors import InvalidInput

#: Members of a family that are replayed: a finer one moves the stops by less than the choice among concepts does.
MEMBERS = 60
#: How much later everything happens to a concept when it is asked whether a rule follows.
SLOWER = 2
#: The rule that is recommended where it really saves.
RECOMMENDABLE = "dvar"
#: Halvings of the concepts by which it is judged to decide once for a method, and what a rule must save for that.
HALVINGS, WORTH = 40, 0.9
RECOMMENDED, CHOSEN = "recommended", "chosen per method"


class Benchmark:
    """Chooses rules on random sets of a method's concepts, and applies them to its others.

    Example:
        >>> from orchestrator.recordings.collection import by_method, read_place
        >>> recordings = by_method(read_place("builtin"), "builtin", ["svdiff"])["svdiff"]
        >>> benchmark = Benchmark("svdiff", recordings, BenchmarkSettings(splits=100))
        >>> row = benchmark.row(Rule("fixed number", "few_iterations"))
        >>> bool(row.applied.below.mean() <= 0.25)
        True

    Args:
        method: personalization method of the recordings, with the base model where there are several.
        recordings: complete ones, all of one budget; seeds of a concept are averaged.
        settings: what is chosen how.

    Raises:
        InvalidInput: budgets differ, too few concepts are left to test on, or too few tune for what is promised.
    """

    def __init__(self, method: str, recordings: Sequence[Recording], settings: BenchmarkSettings) -> None:
        self.method, self.settings = method, settings
        self._recordings, self.budget = tuple(recordings), common_budget(recordings)
        self._tables: dict[Rule, FamilyTable] = {}
        self.concepts = len({recording.concept for recording in recordings})
        if self.concepts < settings.tuning + 2:
            raise InvalidInput(
                f"{method}: {self.concepts} concepts are recorded, and {settings.tuning} of them would tune; at least "
                "two must be left to test on: use fewer with --tuning, or record more"
            )
        if settings.objective.is_reliable:
            settings.objective.risk_with(settings.tuning)
        # Families are replayed over all concepts at once, and judged split by split.
        self._pointwise = Objective(settings.objective.quality_kept, settings.objective.metric, kind="mean")

    def rows(self, rules: Sequence[Rule]) -> tuple[list[BenchmarkRow], list[str]]:
        """Return the references and every rule, and why rules are left out that these recordings cannot answer for."""
        rows, problems, compared = [self.full(), self.oracle()], [], []
        for rule in rules:
            try:
                rows.append(self.row(rule))
                compared.append(rule)
            except InvalidInput as error:
                problems.append(f"{self.method}, {rule.label}: {error}")
        decided = next((rule for rule in compared if rule.name == RECOMMENDABLE), None)
        if decided is not None and self.settings.tuning >= LEAST_CONCEPTS:
            rows.append(self.recommended(decided))
            if self.concepts // 2 >= self.settings.tuning + 2:
                rows.append(self.chosen_per_method(decided))
        return rows, problems

    def row(self, rule: Rule) -> BenchmarkRow:
        """Return how a rule does.

        Raises:
            InvalidInput: a recording lacks what the rule watches, or the rule has no ordered family.
        """
        table = self.table(rule)
        adaptation = None if rule.name in (FIXED, PER_IMAGE) else self._adaptation(table)
        return self._row(rule.label, self._apply(table), None if rule.name == FIXED else self.fixed, adaptation)

    def recommended(self, rule: Rule) -> BenchmarkRow:
        """Return how the recommendation does: the rule where it really saves on the tuning concepts, else a number."""
        objective, sides = self.settings.objective, [self.table(rule), self._table_of_fixed]

        def is_recommended(columns: Indices) -> bool:
            low, _, _ = saving_interval(
                objective,
                *((table.steps[:, columns], table.kept[:, columns]) for table in sides),
            )
            return low > 0

        def apply(splits: Splits) -> Applied:
            use = np.array([is_recommended(columns) for columns in splits.tuning])
            of_rule, of_fixed = (
                splits.apply(table, table.choose(objective, splits.tuning), objective) for table in sides
            )
            return of_rule.where(use, of_fixed)

        return self._row(RECOMMENDED, self._each(apply), self.fixed)

    def chosen_per_method(self, rule: Rule) -> BenchmarkRow:
        """Return how it does to decide for rule or fixed number on a half of the concepts, judged on the other half.

        The rule is taken where it needs less than `WORTH` of the fixed number's steps on the first half, on random
        splits of it. The interval is that of nine in ten halvings.
        """
        halves = []
        for halving in range(HALVINGS):
            order = np.random.default_rng((self.settings.seed, halving)).permutation(self.concepts)
            first, second = (self._on_half(rule, half) for half in np.array_split(order, 2))
            is_worth = first[0].steps.mean() < WORTH * first[1].steps.mean()
            halves.append((second[0] if is_worth else second[1], second[1]))
        applied = Applied.joined([chosen for chosen, _ in halves])
        steps, seconds = (ratio_of_pairs(halves, measure) for measure in ("steps", "seconds"))
        return BenchmarkRow(self.method, CHOSEN, self.budget, applied, steps, seconds)

    def _on_half(self, rule: Rule, concepts: Indices) -> tuple[Applied, Applied]:
        """Return what the rule and the fixed number do on splits of some concepts."""
        settings = self.settings
        splits = Splits.draw(concepts, settings.tuning, settings.splits // GROUP_SPLITS, settings.seed)
        of_rule, of_fixed = (
            splits.apply(table, table.choose(settings.objective, splits.tuning), settings.objective)
            for table in (self.table(rule), self._table_of_fixed)
        )
        return of_rule, of_fixed

    def full(self) -> BenchmarkRow:
        """Return what the whole budget costs and keeps."""
        table = FamilyTable.of("full budget", [self._judge(lambda concept: Never())])
        return self._row(table.label, self._apply(table))

    def oracle(self) -> BenchmarkRow:
        """Return what stopping every concept at its own first step of enough quality would cost: a bound, no rule."""
        names = self._judge(lambda concept: Never()).concepts
        needs = {
            name: self.budget if need is None else max(1, need)
            for name, need in zip(names, self.needed_steps, strict=True)
        }
        table = FamilyTable.of("oracle", [self._judge(lambda concept: FewIterations(needs[concept]))])
        return self._row(table.label, self._apply(table), self.fixed)

    def _row(
        self,
        label: str,
        applied: AppliedSets,
        fixed: AppliedSets | None = None,
        adaptation: Adaptation | None = None,
    ) -> BenchmarkRow:
        steps, seconds = (
            ratio(applied, fixed, measure=measure)
            if fixed is not None and np.isfinite(getattr(applied.everyone, measure)).all()
            else None
            for measure in ("steps", "seconds")
        )
        return BenchmarkRow(self.method, label, self.budget, applied.everyone, steps, seconds, adaptation)

    def seen(self, rule: Rule, tuning: int, risk: float) -> Seen:
        """Return what the reliable choice promises with a number of tuning concepts, and what is seen of others."""
        objective = replace(self.settings.objective, kind=RELIABLE, risk=risk)
        splits = Splits.draw(np.arange(self.concepts), tuning, self.settings.splits, self.settings.seed)
        table = self.table(rule)
        share = float(splits.apply(table, table.choose(objective, splits.tuning), objective).below.mean())
        return Seen(rule.label, tuning, risk, share, share)

    def choice(self, rule: Rule) -> Params:
        """Return a rule's setting, chosen on all concepts."""
        table = self.table(rule)
        return table.params[int(table.choose(self.settings.objective, np.arange(table.concepts)))]

    def carry(self, criterion: Criterion) -> Carried:
        """Return how a setting that was chosen elsewhere does on all concepts."""
        result = self._judge(lambda concept: criterion)
        return Carried(criterion, result.iterations / self.budget, result.share_below)

    @cached_property
    def needed_steps(self) -> tuple[int | None, ...]:
        """Of each concept, the first step at which it keeps the target; None where it never does."""
        return needed_steps(self._recordings, self._pointwise)

    def table(self, rule: Rule) -> FamilyTable:
        """Replay a thinned family of a rule over all concepts; errors as in `row`."""
        if rule not in self._tables:
            self._tables[rule] = self._replayed(rule)
        return self._tables[rule]

    def _replayed(self, rule: Rule) -> FamilyTable:
        replays = self._replays(rule)
        members = replays.space.family(rule.name)
        places = np.unique(np.linspace(0, len(members) - 1, min(MEMBERS, len(members))).round().astype(int))
        if rule.name in (FIXED, PER_IMAGE):  # cheap to replay, and what everything is compared with
            places = np.arange(len(members))
        results = [replays.evaluate(rule.name, members[place]) for place in places]
        return FamilyTable.of(rule.label, results)

    @cached_property
    def _table_of_fixed(self) -> FamilyTable:
        return self.table(Rule(FIXED_LABEL, FIXED))

    @cached_property
    def fixed(self) -> AppliedSets:
        """What the fixed number of steps does, with which everything is compared."""
        return self._apply(self._table_of_fixed)

    def _replays(self, rule: Rule) -> Replays:
        defaults = stated_defaults(self._recordings[0].identity.method, self._recordings[0])
        space = SearchSpace(
            [rule.name], self.budget, defaults=defaults, fixed={rule.name: rule.fixed} if rule.fixed else None
        )
        return Replays(self._recordings, space, self._pointwise)

    def _judge(self, criterion_of: Callable[[str], Criterion]) -> TrialResult:
        """Judge what each concept gets a criterion of its own for."""
        outcomes = [replayer.replay(criterion_of(replayer.recording.concept)) for replayer in self._replayers]
        return judge(self._pointwise, "", {}, Never(), outcomes)

    @cached_property
    def _replayers(self) -> list[Replayer]:
        return [Replayer(recording, self._pointwise.metric) for recording in self._recordings]

    @cached_property
    def _slow_replayers(self) -> list[Replayer]:
        return [Replayer(slowed(recording, SLOWER), self._pointwise.metric) for recording in self._recordings]

    @cached_property
    def _splits(self) -> SplitSets:
        settings = self.settings
        return SplitSets.draw(self.concepts, settings.tuning, settings.splits, settings.seed)

    def _each(self, apply: Callable[[Splits], Applied]) -> AppliedSets:
        return AppliedSets(apply(self._splits.everyone), tuple(apply(splits) for splits in self._splits.without))

    def _apply(self, table: FamilyTable) -> AppliedSets:
        objective = self.settings.objective
        return self._each(lambda splits: splits.apply(table, table.choose(objective, splits.tuning), objective))

    def _adaptation(self, table: FamilyTable) -> Adaptation:
        chosen = int(table.choose(self.settings.objective, np.arange(table.concepts)))
        criterion, stops = table.criteria[chosen], table.steps[chosen]
        return Adaptation(
            criterion=criterion,
            spread=float(stops.std() / stops.mean()),
            correlation=rank_correlation(stops.tolist(), self.needed_steps),
            elasticity=self._elasticity(criterion),
            line_stop=line_stop(criterion),
        )

    def _elasticity(self, criterion: Criterion) -> float | None:
        """Return how far a criterion follows concepts that learn at half the speed."""
        moves = []
        for replayer, slow_replayer in zip(self._replayers, self._slow_replayers, strict=True):
            stop, slow = replayer.replay(criterion), slow_replayer.replay(criterion)
            if stop.stopped and stop.stop_step * SLOWER < self.budget:
                moves.append(math.log(slow.stop_step / stop.stop_step) / math.log(SLOWER))
        return float(np.median(moves)) if moves else None
