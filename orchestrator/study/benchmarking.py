"""A whole benchmark: every rule on every method, several methods at once, and settings carried between methods."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from statistics import fmean

from orchestrator import criteria
from orchestrator.recordings.recording import Recording
from orchestrator.study.benchmark import Benchmark
from orchestrator.study.benchmark_rows import BenchmarkRow, BenchmarkSettings, Carried, Rule, Seen
from orchestrator.study.l_det_form import Form, form_for, stratified_every, with_form
from orchestrator.study.recommendation import FIXED, FIXED_LABEL, PER_IMAGE
from orchestrator.study.search_space import Params, search_space_module
from search_spaces.base import FamilyModule
from search_spaces.windows import rescaled
from trainables.errors import InvalidInput

#: Labels of what needs no L_det.
LABELS = {FIXED: FIXED_LABEL, PER_IMAGE: "steps per image"}
DVAR = "dvar"
#: Promises that are held against what is seen: numbers of tuning concepts, and shares of new concepts.
PROMISES = ((8, 0.25), (24, 0.2), (24, 0.1))


def rules_of(
    names: Sequence[str], fixed: Mapping[str, Params], form: Form | None, methods: Mapping[str, Sequence[Recording]]
) -> tuple[list[Rule], list[str]]:
    """Return the rules to compare, the fixed number first and DVAR in both forms; and why some are left out.

    Args:
        names: of criteria.
        fixed: for a criterion, parameters that stay as they are.
        form: of L_det, see `with_form`.
        methods: each with its recordings.
    """
    everything = [recording for recordings in methods.values() for recording in recordings]
    budget = min((recording.budget for recording in everything), default=0)
    of_form = with_form(names, fixed, form_for(form, everything), budget, stratified_every=stratified_every(everything))
    rules, problems = [Rule(LABELS[FIXED], FIXED)], []
    for name in dict.fromkeys(names):
        if name == FIXED:
            continue
        if not isinstance(search_space_module(name), FamilyModule):
            problems.append(f"{name}: its search space has no ordered family (the function family)")
            continue
        rules.append(Rule(LABELS.get(name, name), name, of_form.get(name, {})))
        if name == DVAR and of_form.get(name):
            rules.append(Rule("dvar, as in the paper", name))
    return rules, problems


@dataclass(frozen=True)
class Transfer:
    """What was chosen on all concepts of one method, used on those of another, its steps scaled to the other budget.

    Attributes:
        source: the method that it was chosen on.
        target: the method that it is used on.
        label: of the rule.
        carried: how it does there.
    """

    source: str
    target: str
    label: str
    carried: Carried


@dataclass(frozen=True)
class _Task:
    """A method's benchmark, as a process gets it."""

    method: str
    recordings: Sequence[Recording]
    settings: BenchmarkSettings
    rules: Sequence[Rule]


@dataclass(frozen=True)
class _Done:
    method: str
    rows: list[BenchmarkRow]
    problems: list[str]
    seen: list[Seen]
    chosen: dict[str, tuple[str, Params]]


@dataclass(frozen=True)
class BenchmarkResult:
    """What a benchmark results in.

    Attributes:
        rows: of all methods.
        transfers: of the fixed number and of DVAR between all pairs of methods.
        seen: what was promised and what was seen, for several promises.
        problems: why a rule is left out of a method.
    """

    rows: tuple[BenchmarkRow, ...]
    transfers: tuple[Transfer, ...]
    seen: tuple[Seen, ...]
    problems: tuple[str, ...]


def run_benchmark(
    methods: Mapping[str, Sequence[Recording]],
    rules: Sequence[Rule],
    settings: BenchmarkSettings,
    on_method: Callable[[str], None] = lambda method: None,
) -> BenchmarkResult:
    """Benchmark rules on every method, on all CPUs that this process may use.

    Args:
        methods: each with the recordings of its concepts.
        rules: what is compared; see `rules_of`.
        settings: what is chosen how.
        on_method: called with each method that is done.

    Raises:
        InvalidInput: the recordings of a method cannot serve, see `Benchmark`.
    """
    if not methods or not rules:
        raise InvalidInput("no method or no criterion is named; leave --methods and --criteria out for all")
    tasks = [_Task(method, tuple(recordings), settings, tuple(rules)) for method, recordings in methods.items()]
    for task in tasks:
        Benchmark(task.method, task.recordings, settings)  # what cannot serve is said before anything is replayed
    finished = []
    for done in _each_done(tasks):
        on_method(done.method)
        finished.append(done)
    return BenchmarkResult(
        rows=tuple(row for done in finished for row in done.rows),
        transfers=tuple(_transfers(methods, finished, settings)),
        seen=tuple(_over_methods([done.seen for done in finished])),
        problems=tuple(problem for done in finished for problem in done.problems),
    )


def _each_done(tasks: Sequence[_Task]) -> Iterator[_Done]:
    workers = min(len(tasks), len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    if workers == 1:
        yield from map(_run, tasks)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_run, tasks)


def _run(task: _Task) -> _Done:
    benchmark = Benchmark(task.method, task.recordings, task.settings)
    rows, problems = benchmark.rows(task.rules)
    compared = {row.label for row in rows}
    decided = [rule for rule in task.rules if rule.name in (FIXED, DVAR) and rule.label in compared]
    chosen = {rule.label: (rule.name, benchmark.choice(rule)) for rule in decided}
    seen = [
        benchmark.seen(rule, tuning, risk)
        for rule in decided
        for tuning, risk in PROMISES
        if tuning + 2 <= benchmark.concepts
    ]
    return _Done(task.method, rows, problems, seen, chosen)


def _over_methods(seen: Sequence[Sequence[Seen]]) -> Iterator[Seen]:
    """Yield means and maxima over methods of what all methods have."""
    for first in seen[0]:
        same = [
            each
            for of_method in seen
            for each in of_method
            if (each.label, each.tuning, each.promised) == (first.label, first.tuning, first.promised)
        ]
        if len(same) == len(seen):
            shares = [each.seen for each in same]
            yield replace(first, seen=fmean(shares), worst=max(shares))


def _transfers(
    methods: Mapping[str, Sequence[Recording]], finished: Sequence[_Done], settings: BenchmarkSettings
) -> Iterator[Transfer]:
    for target, recordings in methods.items():
        benchmark = Benchmark(target, recordings, settings)
        for source in finished:
            budget = methods[source.method][0].budget
            for label, (name, params) in source.chosen.items():
                criterion = criteria.load(name, **rescaled(params, budget, benchmark.budget))
                yield Transfer(source.method, target, label, benchmark.carry(criterion))
