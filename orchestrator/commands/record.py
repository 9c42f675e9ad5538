"""What the commands do: each calls the parts in order, keeps them in MLflow, and prints what was measured."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape

from orchestrator import criteria
from orchestrator.commands.context import Desk, make_recordings, report, say_agreement
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
    desk = Desk(experiment)
    is_good = make_recordings(desk)
    desk.say_where_runs_are()
    return is_good


def run(experiment: Experiment, criterion: Criterion | None, best: Path | None, every: bool) -> bool:
    """Personalize concepts until a criterion stops them; return whether all ended well."""
    desk = Desk(experiment, best)
    concepts = desk.concepts
    if criterion is None:
        found = _fitting_best(desk)
        criterion = found.make_criterion()
        if not every:
            concepts = _unseen(desk, found)
    is_good = _run(desk, concepts, criterion)
    desk.say_where_runs_are()
    return is_good


def _fitting_best(desk: Desk) -> Best:
    """Read best.yaml; say so where it was found for something else."""
    found = best_file.read(desk.best_path)
    here = {"method": desk.experiment.method.name, "base_model": desk.experiment.base_model.id}
    here["budget"] = str(desk.experiment.budget)
    for name, value in here.items():
        there = str(getattr(found, name))
        if there != value:
            desk.say(f"[yellow]note: {escape(str(desk.best_path))} was tuned for {name} {there}, this is {value}[/]")
    return found


def _unseen(desk: Desk, found: Best) -> list[Concept]:
    concepts = [concept for concept in desk.concepts if concept.name not in found.tuned_on]
    if not concepts:
        raise InvalidInput("every concept served to tune the setting; run them nevertheless with --all")
    return concepts


def _run(desk: Desk, concepts: Sequence[Concept], criterion: Criterion) -> bool:
    runs.check_live(desk.experiment, criterion)
    desk.say(f"{criterion} on {len(concepts)} concepts, at most {desk.experiment.budget} steps each")
    params = desk.experiment.public() | {"criterion": repr(criterion)}
    with desk.tracker.run("run", params) as parent, run_bars(desk.console, "personalizing") as shown:
        ended = runs.live(desk.experiment, concepts, criterion, [parent, shown])
    good = [one for one in ended if one.is_good]
    for one in good:
        desk.say(f"{escape(one.job.concept.name)}: {one.steps} steps, adapter in {escape(_export(desk, one))}")
    return report(desk, ended, runs.storage_folder(desk.experiment, runs.LIVE))


def _export(desk: Desk, ended: runs.Ended) -> str:
    """Copy the adapter of an ended run to a folder that is easy to find, where the storage is local."""
    store = runs.live_runs(desk.experiment)
    if "://" in store.url:
        return store.folder(ended.job.identity)
    source = store.snapshot_folder(ended.job.key, ended.steps)
    adapters, name = runs.storage_folder(desk.experiment, ADAPTERS), Path(store.folder(ended.job.identity)).name
    open_files(adapters).put_folder(name, source)
    return f"{adapters}/{name}"


@dataclass(frozen=True)
class _Strategy:
    name: str
    criterion: Criterion


def compare(experiment: Experiment, best: Path | None) -> None:
    """Print strategies side by side on the test concepts."""
    desk = Desk(experiment, best)
    _compare(desk)
    desk.say_where_runs_are()


def _compare(desk: Desk) -> None:
    found = _fitting_best(desk)
    concepts = [concept for concept in desk.concepts if concept.name not in found.tuned_on]
    if not concepts:
        desk.say("[yellow]note: every concept served to tune the setting, so this proves nothing about others[/]")
        concepts = desk.concepts
    recordings = desk.recordings(concepts)
    tuned = found.make_criterion()
    rows = [_row(strategy, recordings, found.measure) for strategy in _strategies(desk, recordings[0], tuned)]
    of_live = [one for one in recordings if one.identity["seed"] == desk.experiment.seed]
    live = _live_outcomes(desk, concepts, of_live, tuned, found.measure)
    if live:
        rows.append(Row.of(f"{_tuned_name(tuned)}, live", live))
    desk.say(f"{len(concepts)} concepts, {desk.experiment.budget} steps, quality: {found.measure}; mean ± std:")
    desk.console.print(comparison_table(rows))
    if live and len(of_live) < len(recordings):
        desk.say(f"live runs are those of seed {desk.experiment.seed}, replayed ones those of every seed")
    say_agreement(desk, live, of_live, tuned, found.measure)
    with desk.tracker.run("compare", desk.experiment.public()) as parent:
        parent.log_text(json.dumps({row.name: row.figures() for row in rows}, indent=2), "comparison.json")
        for row in rows:
            child = parent.child(row.name, {"strategy": row.name}, {"dvar.kind": "strategy"})
            parent.finish(child, row.figures())


def _strategies(desk: Desk, recording: Recording, tuned: Criterion) -> list[_Strategy]:
    method = desk.experiment.method.name
    usual = criteria.load("dvar", **dvar_space.usual_setting(method, desk.experiment.budget, recording.usual))
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
    desk: Desk, concepts: Sequence[Concept], recordings: Sequence[Recording], criterion: Criterion, measure: str
) -> list[Outcome]:
    store = runs.live_runs(desk.experiment)
    jobs = runs.jobs(desk.experiment, concepts, criterion)
    pairs = [(store.find(job.identity), full) for job, full in zip(jobs, recordings, strict=True)]
    return [live_outcome(run, full, measure) for run, full in pairs if run and run.state in DONE]


def demo(experiment: Experiment) -> bool:
    """Do all of it, explaining each part in a line."""
    desk = Desk(experiment)
    _explain(desk, "record", "train every concept for its whole budget once, and keep L_det and quality")
    if not make_recordings(desk):
        return False
    _explain(desk, "tune", "replay stopping over the tuning concepts' recordings; find the best setting")
    result = tune_by_replay(desk)
    _explain(desk, "run", "personalize the other concepts anew, and stop them by that setting")
    if not _run(desk, desk.split.test, result.best.criterion):
        return False
    _explain(desk, "compare", "what each strategy costs and keeps on concepts that the search never saw")
    _compare(desk)
    _picture(desk, result.best.criterion)
    if experiment.base_model.id == MINIATURE:
        desk.say(f"\n{OF_THE_MINIATURE}")
    desk.say_where_runs_are()
    return True


def _picture(desk: Desk, criterion: Criterion) -> None:
    """Draw what was learned at the stop and at the full budget, for every test concept."""
    concepts = desk.split.test
    full, live = runs.recordings(desk.experiment), runs.live_runs(desk.experiment)
    jobs = runs.jobs(desk.experiment, concepts, criterion)
    picture = demo_picture(list(concepts), full, [desk.jobs[c.name] for c in concepts], live, jobs)
    target = PICTURE if "://" in desk.experiment.storage else runs.storage_folder(desk.experiment, PICTURE)
    picture.save(target)
    desk.say(f"\npicture of the concepts, their samples at the stop and at the full budget: {escape(str(target))}")


def _explain(desk: Desk, command: str, text: str) -> None:
    desk.say(f"\n[bold]dvar {command}[/] - {text}")
