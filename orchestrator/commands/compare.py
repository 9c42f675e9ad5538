"""`dvar compare`: shows strategies side by side on concepts that the search never saw."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator import criteria, runs
from orchestrator.commands.context import CommandContext
from orchestrator.commands.messages import say_agreement, say_caveats
from orchestrator.config.experiment import Experiment
from orchestrator.criteria import Criterion, Never
from orchestrator.recordings.recording import DONE, Recording
from orchestrator.replay.outcome import Outcome
from orchestrator.replay.replay import live_outcome, replay
from orchestrator.report.console.markup import escape
from orchestrator.report.console.tables import StrategyRow, comparison_table
from orchestrator.study.search_space import stated_defaults
from search_spaces import dvar as dvar_space
from search_spaces.paper import PAPER
from trainables.data.concept import Concept


@dataclass(frozen=True)
class Comparison:
    """The outcomes of several strategies on the same concepts.

    Attributes:
        rows: one per strategy.
        tuned: the criterion with the best setting.
        recordings: what was replayed, with every seed.
        live: outcomes of the live runs under `tuned`; empty if there are none.
        metric: the quality metric that counts.
    """

    rows: tuple[StrategyRow, ...]
    tuned: Criterion
    recordings: tuple[Recording, ...]
    live: tuple[Outcome, ...]
    metric: str

    @property
    def of_live_seed(self) -> list[Recording]:
        """The recordings with the seed of the live runs."""
        seeds = {outcome.seed for outcome in self.live}
        return [recording for recording in self.recordings if recording.identity.seed in seeds]


def compare(experiment: Experiment, best: Path | None) -> None:
    """Print strategies side by side on the test concepts, and log them to MLflow.

    Args:
        experiment: what was recorded, and where.
        best: the file of the best setting; see `CommandContext.open`.

    Raises:
        InvalidInput: the best setting or a recording is missing or cannot be used.
    """
    context = CommandContext.open(experiment, best)
    compare_strategies(context)
    say_caveats(context.console, [context.experiment])
    context.say_where_runs_are()


def compare_strategies(context: CommandContext) -> None:
    """Compare strategies on the context's test concepts; print the table and log it to MLflow.

    Raises:
        InvalidInput: the best setting or a recording is missing or cannot be used.
    """
    setting = context.read_best()
    concepts: Sequence[Concept] = context.unseen(setting)
    if not concepts:
        context.say("[yellow]note: the setting was tuned on every concept, so this says nothing about others[/]")
        concepts = context.concepts
    comparison = _measure(context, concepts, setting.make_criterion(), setting.measure)
    _print(context, concepts, comparison)
    _log(context, comparison)


def _measure(context: CommandContext, concepts: Sequence[Concept], tuned: Criterion, metric: str) -> Comparison:
    """Replay every strategy, and read the live runs of the tuned criterion."""
    recordings = context.recordings(concepts)
    rows = [
        StrategyRow.of(name, [replay(criterion, recording, metric) for recording in recordings])
        for name, criterion in _strategies(context, recordings[0], tuned).items()
    ]
    live = _live_outcomes(context, concepts, recordings, tuned, metric)
    if live:
        rows.append(StrategyRow.of(f"{_tuned_name(tuned)}, live", live))
    return Comparison(tuple(rows), tuned, tuple(recordings), tuple(live), metric)


def _strategies(context: CommandContext, recording: Recording, tuned: Criterion) -> dict[str, Criterion]:
    method = context.experiment.method.name
    params = dvar_space.default_params(method, context.experiment.budget, stated_defaults(method, recording))
    whose = "paper" if method in PAPER else "method"
    return {
        "full budget": Never(),
        f"DVAR, {whose}'s setting": criteria.load("dvar", **params),
        _tuned_name(tuned): tuned,
    }


def _tuned_name(criterion: Criterion) -> str:
    return f"{type(criterion).__name__}, tuned"


def _live_outcomes(
    context: CommandContext,
    concepts: Sequence[Concept],
    recordings: Sequence[Recording],
    criterion: Criterion,
    metric: str,
) -> list[Outcome]:
    store, seed = runs.live_runs(context.experiment), context.experiment.seed
    full_length = [recording for recording in recordings if recording.identity.seed == seed]
    specs = runs.run_specs(context.experiment, concepts, criterion)
    pairs = [(store.find(spec.identity), full) for spec, full in zip(specs, full_length, strict=True)]
    return [live_outcome(run, full, metric) for run, full in pairs if run and run.state in DONE]


def _print(context: CommandContext, concepts: Sequence[Concept], comparison: Comparison) -> None:
    budget, metric = context.experiment.budget, comparison.metric
    context.say(f"{len(concepts)} concepts, {budget} steps, quality: {escape(metric)}; mean ± std:")
    context.console.print(comparison_table(comparison.rows))
    if comparison.live and len(context.experiments) > 1:
        context.say(f"live runs have seed {context.experiment.seed}; replayed recordings have every seed")
    say_agreement(context, comparison.live, comparison.of_live_seed, comparison.tuned, metric)


def _log(context: CommandContext, comparison: Comparison) -> None:
    with context.tracker.run("compare", context.experiment.public()) as parent:
        by_name = {row.name: row.metrics() for row in comparison.rows}
        parent.log_text(json.dumps(by_name, indent=2), "comparison.json")
        for name, metrics in by_name.items():
            child = parent.child(name, {"strategy": name}, {"dvar.kind": "strategy"})
            parent.finish(child, metrics)
