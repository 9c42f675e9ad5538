"""What the commands do: each calls the parts in order, keeps them in MLflow, and prints what was measured."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from orchestrator import best as best_file
from orchestrator import criteria, runs
from orchestrator.best import Best
from orchestrator.criteria import Criterion, Never
from orchestrator.experiment import Experiment, Split
from orchestrator.landscape import survey
from orchestrator.library import for_tuning
from orchestrator.passwords import without_password
from orchestrator.progress import run_bars, study_bar
from orchestrator.recording import Recording
from orchestrator.replay import Outcome, live_outcome, replay
from orchestrator.report.landscape_figure import draw_landscape
from orchestrator.report.landscape_page import write_landscape_page
from orchestrator.report.picture import demo_picture
from orchestrator.report.table import (
    Row,
    comparison_table,
    front_table,
    study_table,
)
from orchestrator.study import Evaluated, Study, StudyResult
from orchestrator.tracking import Tracker
from orchestrator.trust import Trust, examine
from search_spaces import dvar as dvar_space
from search_spaces.paper import PAPER
from trainables.concept import Concept
from trainables.errors import InvalidInput
from trainables.settings import MINIATURE, OF_THE_MINIATURE

BEST_FILE = "best.yaml"
ADAPTERS = "adapters"
PICTURE = "demo.png"
LANDSCAPE, LANDSCAPE_PAGE = "landscape.png", "landscape.html"


class Desk:
    """What the steps of one command share: experiment, concepts, console and tracker.

    Args:
        experiment: what the command works on; of its several seeds, the first one's is `experiment`.
        best: the file of the best setting; None is best.yaml in a local storage, else in the current folder.
        needs_models: whether concepts and base model are read at once, so that what is wrong with them shows before
            anything begins.
    """

    def __init__(self, experiment: Experiment, best: Path | None = None, *, needs_models: bool = True) -> None:
        self.experiments = experiment.of_seeds()
        self.experiment = self.experiments[0]
        self.console = Console(highlight=False)
        self.best_path = best or _default_best(experiment)
        if needs_models:
            _ = self.jobs
        with self.console.status("opening MLflow"):
            self.tracker = Tracker(experiment)

    @cached_property
    def concepts(self) -> list[Concept]:
        """Every concept of the experiment."""
        with self.console.status("reading concepts"):
            return self.experiment.load_concepts()

    @cached_property
    def jobs(self) -> dict[str, runs.Job]:
        """The full-length run of every concept with the first seed."""
        with self.console.status("reading the base model"):
            return {job.concept.name: job for job in runs.jobs(self.experiment, self.concepts)}

    @cached_property
    def split(self) -> Split:
        """The concepts that tune and those that test."""
        return self.experiment.split(self.concepts)

    def say(self, text: str) -> None:
        """Print a line that the terminal wraps."""
        self.console.print(text, soft_wrap=True)

    def say_where_runs_are(self) -> None:
        """Print how to browse what MLflow holds."""
        self.say(escape(self.tracker.where_runs_are()))

    def recordings(self, concepts: Sequence[Concept]) -> list[Recording]:
        """Return the complete recordings of concepts, with every seed.

        Raises:
            InvalidInput: one is missing or not complete; all of them are named.
        """
        store = runs.recordings(self.experiment)
        found = {}
        for experiment in self.experiments:
            of_seed = f", seed {experiment.seed}" if len(self.experiments) > 1 else ""
            for job in runs.jobs(experiment, concepts):
                found[f"{job.concept.name}{of_seed}"] = store.find(job.identity)
        states = {name: recording.state if recording else "missing" for name, recording in found.items()}
        lacking = [f"{name} ({state})" for name, state in states.items() if state != "complete"]
        if lacking:
            raise InvalidInput(
                f"no complete recording of {', '.join(lacking)} in {store.url} for these settings; "
                "make them with `dvar record` and the same flags"
            )
        return [recording for recording in found.values() if recording]


def _default_best(experiment: Experiment) -> Path:
    remote = "://" in experiment.storage
    return Path(BEST_FILE) if remote else Path(runs.storage_folder(experiment, BEST_FILE))


def record(experiment: Experiment) -> bool:
    """Record every concept for the whole budget; return whether all recordings are complete."""
    desk = Desk(experiment)
    is_good = _record(desk)
    desk.say_where_runs_are()
    return is_good


def _record(desk: Desk) -> bool:
    ended = []
    for experiment in desk.experiments:
        verb = f"recording seed {experiment.seed} of" if len(desk.experiments) > 1 else "recording"
        with desk.tracker.run("record", experiment.public()) as parent, run_bars(desk.console, verb) as shown:
            ended += runs.record(experiment, desk.concepts, [parent, shown])
    known = sum(not one.is_new for one in ended)
    if known:
        desk.say(f"{known} of {len(ended)} were complete already and were not recorded again")
    return _report(desk, ended, runs.storage_folder(desk.experiment, runs.RECORDINGS))


def _report(desk: Desk, ended: Sequence[runs.Ended], folder: str) -> bool:
    failed = [one for one in ended if not one.is_good]
    for one in failed:
        word = "unfinished" if one.state == "running" else "failed"
        of_seed = f", seed {one.job.identity['seed']}" if len(desk.experiments) > 1 else ""
        name = escape(one.job.concept.name) + of_seed
        desk.say(f"[red]{word}[/] {name} after {one.steps} steps: {escape(one.reason)}")
    what = "concepts" if len({one.job.concept.name for one in ended}) == len(ended) else "runs"
    desk.say(f"{len(ended) - len(failed)} of {len(ended)} {what} done, in {escape(folder)}")
    return not failed


def tune(experiment: Experiment, best: Path | None) -> None:
    """Search the best setting on the tuning concepts, print it with its neighbours, and write best.yaml."""
    desk = Desk(experiment, best, needs_models=experiment.study.recordings is None)
    _tune(desk)
    desk.say_where_runs_are()


def _tune(desk: Desk) -> StudyResult:
    experiment, settings = desk.experiment, desk.experiment.study
    place = settings.recordings
    recordings = for_tuning(experiment, place) if place else desk.recordings(desk.split.tuning)
    study = Study(
        recordings,
        names=settings.criteria,
        method=experiment.method.name,
        quality_kept=settings.quality_kept,
        measure=settings.measure,
        cost=settings.cost,
        fixed=settings.fixed,
    )
    params = experiment.public()
    with desk.tracker.run("tune", params) as parent:
        with study_bar(desk.console, settings.trials) as bar:
            try:
                result = study.search(
                    settings.trials,
                    seed=settings.seed,
                    storage=settings.storage,
                    study_name=experiment.name,
                    pareto=settings.pareto,
                    on_trial=bar.tried,
                )
            except KeyboardInterrupt:
                _say_how_to_go_on(desk)
                raise
        found = best_file.from_result(result, experiment.method.name, experiment.base_model.id)
        best_file.write(found, desk.best_path)
        parent.log_artifact(desk.best_path)
        landscape = _draw_landscape(desk, recordings, result)
        for path in landscape:
            parent.log_artifact(path)
        for outcome in result.best.outcomes:
            child = parent.child(outcome.concept, {"criterion": repr(result.best.criterion)}, {"dvar.kind": "outcome"})
            parent.finish(child, outcome.figures())
        figures = {"iterations": found.iterations, "quality_kept": found.quality_kept}
        numbers = {name: value for name, value in found.params.items() if isinstance(value, int | float)}
        parent.log_metrics({f"best_{name}": float(value) for name, value in (numbers | figures).items()})
    _say_result(desk, result)
    if place and all(one.is_of_the_miniature for one in recordings):
        desk.say(OF_THE_MINIATURE)
    if landscape:
        picture, page = landscape
        desk.say(
            f"the whole plane of N and alpha: {escape(str(picture))}; to explore, open {escape(page.name)} beside it"
        )
    return result


def _draw_landscape(desk: Desk, recordings: Sequence[Recording], result: StudyResult) -> list[Path]:
    """Draw DVAR's plane beside best.yaml, where the study searched DVAR; return the picture and the page."""
    usual = next((one for one in result.usual if one.name == "dvar"), None)
    if usual is None or desk.experiment.study.fixed.get("dvar"):
        return []  # the plane is that of DVAR with nothing fixed
    landscape = survey(recordings, result.measure)
    title = f"DVAR on {len(recordings)} recordings of {desk.experiment.method.name}, {result.budget} steps"
    chosen = _point(result.best) if result.best.name == "dvar" else None
    paths = [desk.best_path.with_name(name) for name in (LANDSCAPE, LANDSCAPE_PAGE)]
    for draw, path in zip((draw_landscape, write_landscape_page), paths, strict=True):
        draw(landscape, path, wanted=result.quality_kept, usual=_point(usual), chosen=chosen, title=title)
    return paths


def _point(one: Evaluated) -> tuple[int, float]:
    return one.params["window"], one.params["threshold"]


def _say_how_to_go_on(desk: Desk) -> None:
    storage = desk.experiment.study.storage
    if storage:
        desk.say(f"what was tried is kept in {escape(without_password(storage))}; the same command goes on from there")
    else:
        desk.say("what was tried was kept in memory alone; --study-storage journal:study.log would keep it")


def _say_trust(desk: Desk, result: StudyResult) -> None:
    """Say how far the choice depends on the concepts that it was made on."""
    trust, unit = examine(result), "steps" if result.cost == "iterations" else "s"
    cost, kept = trust.cost, trust.quality_kept
    if trust.near_ranges and (ranges := _ranges(trust)):
        desk.say(f"as good within 5 %, among the settings tried: {ranges}")
    if not trust.left_out:
        desk.say("[yellow]one concept says nothing of others; tune on more[/]")
        return
    desk.say(
        f"nine of ten resampled sets of these concepts put it at {cost.low:.1f} to {cost.high:.1f} {unit} and "
        f"{100 * kept.low:.1f} to {100 * kept.high:.1f} %; {100 * trust.risk:.0f} of 100 sets keep less than "
        f"{100 * trust.wanted:.0f} %"
    )
    desk.say(
        f"chosen without the concept that it is applied to: {trust.left_out_cost:.1f} {unit} and "
        f"{100 * trust.left_out_quality:.1f} % (chosen with it: {cost.mean:.1f} and {100 * kept.mean:.1f})"
    )
    if trust.is_luck:
        desk.say(
            f"[yellow]these concepts are too few, or too different, to say that it keeps {100 * trust.wanted:.0f} % on "
            "others; tune on more, or ask for more with --keep[/]"
        )


def _ranges(trust: Trust) -> str:
    parts = [f"{key} {low:g} to {high:g}" for key, (low, high) in trust.near_ranges.items() if low != high]
    return ", ".join(parts)


def _say_result(desk: Desk, result: StudyResult) -> None:
    names = sorted({outcome.concept for outcome in result.best.outcomes})
    desk.say(f"{result.trials} settings on {len(names)} tuning concepts ({escape(', '.join(names))}):")
    desk.console.print(study_table(result))
    if desk.experiment.study.pareto:
        desk.say("settings that none beats in both cost and quality:")
        desk.console.print(front_table(result))
    best = result.best
    if not best.is_feasible:
        desk.say(
            f"[yellow]no setting keeps {100 * result.quality_kept:.0f} % of the best {result.measure}; "
            "this one keeps most. Record a longer budget, or ask for less with --keep.[/]"
        )
    saved = 100 * (1 - best.summary.share.mean)
    desk.say(
        f"best: [bold]{best.criterion}[/] needs {best.iterations:.1f} of {result.budget} steps (saves {saved:.1f} %) "
        f"and keeps {100 * best.quality_kept:.1f} % of the best {result.measure}"
    )
    _say_trust(desk, result)
    if not best.criterion.decides_by_step:
        desk.say("[yellow]it watches samples, so it can be compared, but not run live[/]")
    desk.say(f"written to {escape(str(desk.best_path))}")


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


def _check_criterion(desk: Desk, criterion: Criterion) -> None:
    """Refuse a criterion that cannot stop a live run of this budget."""
    if not criterion.decides_by_step:
        raise InvalidInput(
            f"{criterion} watches samples, which a live run does not take on its way; `dvar compare` replays it, and "
            "`dvar tune --criteria` chooses among others"
        )
    inputs, size = criterion.evaluation.inputs, desk.experiment.fixed_batch.size
    if inputs is not None and inputs > size:
        raise InvalidInput(f"{criterion} evaluates {inputs} inputs at a time, and fixed_batch.size is {size}")
    window = getattr(criterion, "window", None)
    if window is not None and window >= desk.experiment.budget:
        raise InvalidInput(
            f"window {window} is not shorter than the budget of {desk.experiment.budget} steps, so {criterion} could "
            "never stop; give a smaller --window or a larger --budget"
        )


def _run(desk: Desk, concepts: Sequence[Concept], criterion: Criterion) -> bool:
    _check_criterion(desk, criterion)
    desk.say(f"{criterion} on {len(concepts)} concepts, at most {desk.experiment.budget} steps each")
    params = desk.experiment.public() | {"criterion": repr(criterion)}
    with desk.tracker.run("run", params) as parent, run_bars(desk.console, "personalizing") as shown:
        ended = runs.live(desk.experiment, concepts, criterion, [parent, shown])
    good = [one for one in ended if one.is_good]
    for one in good:
        desk.say(f"{escape(one.job.concept.name)}: {one.steps} steps, adapter in {escape(_export(desk, one))}")
    return _report(desk, ended, runs.storage_folder(desk.experiment, runs.LIVE))


def _export(desk: Desk, ended: runs.Ended) -> str:
    """Copy the adapter of an ended run to a folder that is easy to find, where the storage is local."""
    store = runs.live_runs(desk.experiment)
    if "://" in store.url:
        return store.folder(ended.job.identity)
    source = store.snapshot_folder(ended.job.key, ended.steps)
    target = Path(runs.storage_folder(desk.experiment, ADAPTERS), Path(store.folder(ended.job.identity)).name)
    shutil.copytree(source, target, dirs_exist_ok=True)
    return str(target)


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
    _say_agreement(desk, live, of_live, tuned, found.measure)
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
    return [live_outcome(run, full, measure) for run, full in pairs if run and run.state in ("stopped", "complete")]


def _say_agreement(
    desk: Desk, live: Sequence[Outcome], recordings: Sequence[Recording], criterion: Criterion, measure: str
) -> None:
    if not live:
        if criterion.decides_by_step:
            desk.say("no live runs of this setting yet: `dvar run` proves it")
        return
    replayed = {one.concept: replay(criterion, one, measure).stop_step for one in recordings}
    same = sum(replayed[one.concept] == one.stop_step for one in live)
    desk.say(f"live and replayed stop at the same step: {same} of {len(live)} concepts")


def demo(experiment: Experiment) -> bool:
    """Do all of it, explaining each part in a line."""
    desk = Desk(experiment)
    _explain(desk, "record", "train every concept for its whole budget once, and keep L_det and quality")
    if not _record(desk):
        return False
    _explain(desk, "tune", "replay stopping over the tuning concepts' recordings; find the best setting")
    result = _tune(desk)
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
