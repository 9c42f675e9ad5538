"""`dvar compare`: shows strategies side by side on concepts that the search never saw."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator import criteria, runs
from orchestrator.commands.context import CommandContext
from orchestrator.commands.messages import say_agreement, say_caveats
from orchestrator.config.experiment import Experiment
from orchestrator.criteria import Criterion, FewIterations, Never
from orchestrator.recordings.recording import DONE, Recording
from orchestrator.replay.outcome import Outcome
from orchestrator.replay.replay import Replayer, live_outcome
from orchestrator.report.console.markup import escape
from orchestrator.report.console.study import pays_lines
from orchestrator.report.console.tables import StrategyRow, comparison_table
from orchestrator.study.best import Best
from orchestrator.study.recommendation import FIXED_LABEL
from orchestrator.study.search_space import stated_defaults
from search_spaces import dvar as dvar_space
from search_spaces.paper import PAPER
from trainables.data.concept import Concept


@dataclass(frozen=True)
class Comparison:
    """The outcomes of several strategies on the same concepts.

    Attributes:
        rows: one per strategy.
        recordings: what was replayed, with every seed.
        live: outcomes of the live runs under each chosen criterion that has any.
        metric: the quality metric that counts.
    """

    rows: tuple[StrategyRow, ...]
    recordings: tuple[Recording, ...]
    live: Mapping[Criterion, Sequence[Outcome]]
    metric: str

    @property
    def of_live_seed(self) -> list[Recording]:
        """The recordings with the seed of the live runs."""
        seeds = {outcome.seed for outcomes in self.live.values() for outcome in outcomes}
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
    comparison = _measure(context, concepts, setting)
    _print(context, concepts, comparison)
    _log(context, comparison)


def _measure(context: CommandContext, concepts: Sequence[Concept], setting: Best) -> Comparison:
    """Replay every strategy, and read the live runs under what was chosen."""
    recordings, metric = context.recordings(concepts), setting.measure
    chosen = [choice.make_criterion() for choice in (setting, *setting.choices)]
    strategies = _references(context, recordings[0]) | {_tuned_name(criterion): criterion for criterion in chosen}
    replayers = [Replayer(recording, metric) for recording in recordings]
    rows = [
        StrategyRow.of(name, [replayer.replay(criterion) for replayer in replayers])
        for name, criterion in strategies.items()
    ]
    live = {
        criterion: outcomes
        for criterion in chosen
        if (outcomes := _live_outcomes(context, concepts, recordings, criterion, metric))
    }
    rows += [StrategyRow.of(f"{_tuned_name(criterion)}, live", outcomes) for criterion, outcomes in live.items()]
    return Comparison(tuple(rows), tuple(recordings), live, metric)


def _references(context: CommandContext, recording: Recording) -> dict[str, Criterion]:
    method = context.experiment.method.name
    params = dvar_space.default_params(method, context.experiment.budget, stated_defaults(method, recording))
    whose = "paper" if method in PAPER else "method"
    return {"full budget": Never(), f"DVAR, {whose}'s setting": criteria.load("dvar", **params)}


def _tuned_name(criterion: Criterion) -> str:
    name = FIXED_LABEL if isinstance(criterion, FewIterations) else type(criterion).__name__
    return f"{name}, tuned"


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
    for line in pays_lines(comparison.rows, f"{FIXED_LABEL}, tuned"):
        context.say(line)
    if comparison.live and len(context.experiments) > 1:
        context.say(f"live runs have seed {context.experiment.seed}; replayed recordings have every seed")
    for criterion, outcomes in comparison.live.items():
        say_agreement(context, outcomes, comparison.of_live_seed, criterion, metric)


def _log(context: CommandContext, comparison: Comparison) -> None:
    with context.tracker.run("compare", context.experiment.public()) as parent:
        by_name = {row.name: row.metrics() for row in comparison.rows}
        parent.log_text(json.dumps(by_name, indent=2), "comparison.json")
        for name, metrics in by_name.items():
            child = parent.child(name, {"strategy": name}, {"dvar.kind": "strategy"})
            parent.finish(child, metrics)
