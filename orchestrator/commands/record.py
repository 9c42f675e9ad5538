"""What the commands do: each calls the parts in order, keeps them in MLflow, and prints what was measured."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape

from orchestrator import criteria
from orchestrator.commands.context import CommandContext, make_recordings, report, say_agreement
from orchestrator.commands.tune import tune_by_replay
from orchestrator.config.experiment import Experiment
from orchestrator.criteria import Criterion, Never
from orchestrator.recordings.recording import DONE, Recording
from orchestrator.replay.replay import Outcome, live_outcome, replay
from orchestrator.report.console.progress import run_bars
from orchestrator.report.console.tables import Row, comparison_table
from orchestrator.report.figures.demo import demo_picture
from orchestrator.runs import launch as runs
from orchestrator.storage.files import open_files
from orchestrator.study import best as best_file
from orchestrator.study.best import Best
from search_spaces import dvar as dvar_space
from search_spaces.paper import PAPER
from trainables.data.concept import Concept
from trainables.errors import InvalidInput
from trainables.settings import MINIATURE, OF_THE_MINIATURE

ADAPTERS = "adapters"
PICTURE = "demo.png"


def record(experiment: Experiment) -> bool:
    """Record every concept for the whole budget; return whether all recordings are complete."""
    context = CommandContext(experiment)
    is_good = make_recordings(context)
    context.say_where_runs_are()
    return is_good


def run(experiment: Experiment, criterion: Criterion | None, best: Path | None, every: bool) -> bool:
    """Personalize concepts until a criterion stops them; return whether all ended well."""
    context = CommandContext(experiment, best)
    concepts = context.concepts
    if criterion is None:
        found = _fitting_best(context)
        criterion = found.make_criterion()
        if not every:
            concepts = _unseen(context, found)
    is_good = _run(context, concepts, criterion)
    context.say_where_runs_are()
    return is_good


def _fitting_best(context: CommandContext) -> Best:
    """Read best.yaml; say so where it was found for something else."""
    found = best_file.read(context.best_path)
    here = {"method": context.experiment.method.name, "base_model": context.experiment.base_model.id}
    here["budget"] = str(context.experiment.budget)
    for name, value in here.items():
        there = str(getattr(found, name))
        if there != value:
            context.say(
                f"[yellow]note: {escape(str(context.best_path))} was tuned for {name} {there}, this is {value}[/]"
            )
    return found


def _unseen(context: CommandContext, found: Best) -> list[Concept]:
    concepts = [concept for concept in context.concepts if concept.name not in found.tuned_on]
    if not concepts:
        raise InvalidInput("every concept served to tune the setting; run them nevertheless with --all")
    return concepts


def _run(context: CommandContext, concepts: Sequence[Concept], criterion: Criterion) -> bool:
    runs.check_live(context.experiment, criterion)
    context.say(f"{criterion} on {len(concepts)} concepts, at most {context.experiment.budget} steps each")
    params = context.experiment.public() | {"criterion": repr(criterion)}
    with context.tracker.run("run", params) as parent, run_bars(context.console, "personalizing") as shown:
        ended = runs.live(context.experiment, concepts, criterion, [parent, shown])
    good = [one for one in ended if one.is_good]
    for one in good:
        context.say(f"{escape(one.job.concept.name)}: {one.steps} steps, adapter in {escape(_export(context, one))}")
    return report(context, ended, runs.storage_folder(context.experiment, runs.LIVE))


def _export(context: CommandContext, ended: runs.Ended) -> str:
    """Copy the adapter of an ended run to a folder that is easy to find, where the storage is local."""
    store = runs.live_runs(context.experiment)
    if "://" in store.url:
        return store.folder(ended.job.identity)
    source = store.snapshot_folder(ended.job.key, ended.steps)
    adapters, name = runs.storage_folder(context.experiment, ADAPTERS), Path(store.folder(ended.job.identity)).name
    open_files(adapters).put_folder(name, source)
    return f"{adapters}/{name}"


@dataclass(frozen=True)
class _Strategy:
    name: str
    criterion: Criterion


def compare(experiment: Experiment, best: Path | None) -> None:
    """Print strategies side by side on the test concepts."""
    context = CommandContext(experiment, best)
    _compare(context)
    context.say_where_runs_are()


def _compare(context: CommandContext) -> None:
    found = _fitting_best(context)
    concepts = [concept for concept in context.concepts if concept.name not in found.tuned_on]
    if not concepts:
        context.say("[yellow]note: every concept served to tune the setting, so this proves nothing about others[/]")
        concepts = context.concepts
    recordings = context.recordings(concepts)
    tuned = found.make_criterion()
    rows = [_row(strategy, recordings, found.measure) for strategy in _strategies(context, recordings[0], tuned)]
    of_live = [one for one in recordings if one.identity["seed"] == context.experiment.seed]
    live = _live_outcomes(context, concepts, of_live, tuned, found.measure)
    if live:
        rows.append(Row.of(f"{_tuned_name(tuned)}, live", live))
    context.say(f"{len(concepts)} concepts, {context.experiment.budget} steps, quality: {found.measure}; mean ± std:")
    context.console.print(comparison_table(rows))
    if live and len(of_live) < len(recordings):
        context.say(f"live runs are those of seed {context.experiment.seed}, replayed ones those of every seed")
    say_agreement(context, live, of_live, tuned, found.measure)
    with context.tracker.run("compare", context.experiment.public()) as parent:
        parent.log_text(json.dumps({row.name: row.metrics() for row in rows}, indent=2), "comparison.json")
        for row in rows:
            child = parent.child(row.name, {"strategy": row.name}, {"dvar.kind": "strategy"})
            parent.finish(child, row.metrics())


def _strategies(context: CommandContext, recording: Recording, tuned: Criterion) -> list[_Strategy]:
    method = context.experiment.method.name
    usual = criteria.load(
        "dvar", **dvar_space.default_params(method, context.experiment.budget, recording.method_defaults)
    )
    whose = "paper" if method in PAPER else "method"
    return [
        _Strategy("full budget", Never()),
        _Strategy(f"DVAR, {whose}'s setting", usual),
        _Strategy(_tuned_name(tuned), tuned),
    ]


def _tuned_name(criterion: Criterion) -> str:
    return f"{type(criterion).__name__}, tuned"


def _row(strategy: _Strategy, recordings: Sequence[Recording], measure: str) -> Row:
    return Row.of(strategy.name, [replay(strategy.criterion, recording, measure) for recording in recordings])


def _live_outcomes(
    context: CommandContext,
    concepts: Sequence[Concept],
    recordings: Sequence[Recording],
    criterion: Criterion,
    measure: str,
) -> list[Outcome]:
    store = runs.live_runs(context.experiment)
    jobs = runs.jobs(context.experiment, concepts, criterion)
    pairs = [(store.find(job.identity), full) for job, full in zip(jobs, recordings, strict=True)]
    return [live_outcome(run, full, measure) for run, full in pairs if run and run.state in DONE]


def demo(experiment: Experiment) -> bool:
    """Do all of it, explaining each part in a line."""
    context = CommandContext(experiment)
    _explain(context, "record", "train every concept for its whole budget once, and keep L_det and quality")
    if not make_recordings(context):
        return False
    _explain(context, "tune", "replay stopping over the tuning concepts' recordings; find the best setting")
    result = tune_by_replay(context)
    _explain(context, "run", "personalize the other concepts anew, and stop them by that setting")
    if not _run(context, context.split.test, result.best.criterion):
        return False
    _explain(context, "compare", "what each strategy costs and keeps on concepts that the search never saw")
    _compare(context)
    _picture(context, result.best.criterion)
    if experiment.base_model.id == MINIATURE:
        context.say(f"\n{OF_THE_MINIATURE}")
    context.say_where_runs_are()
    return True


def _picture(context: CommandContext, criterion: Criterion) -> None:
    """Draw what was learned at the stop and at the full budget, for every test concept."""
    concepts = context.split.test
    full, live = runs.recordings(context.experiment), runs.live_runs(context.experiment)
    jobs = runs.jobs(context.experiment, concepts, criterion)
    picture = demo_picture(list(concepts), full, [context.jobs[c.name] for c in concepts], live, jobs)
    target = PICTURE if "://" in context.experiment.storage else runs.storage_folder(context.experiment, PICTURE)
    picture.save(target)
    context.say(f"\npicture of the concepts, their samples at the stop and at the full budget: {escape(str(target))}")


def _explain(context: CommandContext, command: str, text: str) -> None:
    context.say(f"\n[bold]dvar {command}[/] - {text}")
