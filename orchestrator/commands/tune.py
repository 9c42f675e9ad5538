"""`dvar tune`: searches for the best setting, by replay or live, and prints it with its robustness."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from orchestrator.commands.checks import check_study, search_space
from orchestrator.commands.context import CommandContext
from orchestrator.commands.messages import say_agreement, say_caveats, say_failed
from orchestrator.commands.record import make_recordings
from orchestrator.config.experiment import Experiment, StudySettings
from orchestrator.criteria import LDetCriterion
from orchestrator.recordings.collection import for_tuning
from orchestrator.recordings.recording import Recording
from orchestrator.replay.landscape import survey
from orchestrator.report.console.markup import escape
from orchestrator.report.console.progress import StudyBar, study_bar
from orchestrator.report.console.study import best_lines, noise_lines, promise, robustness_lines, verdict_lines
from orchestrator.report.console.tables import front_table, study_table
from orchestrator.report.figures.landscape import draw_landscape
from orchestrator.report.html.landscape import write_landscape_page
from orchestrator.storage.passwords import without_password
from orchestrator.study import best as best_file
from orchestrator.study.l_det_form import form_for, stratified_every, with_form
from orchestrator.study.live import LiveStudy, SearchIncomplete
from orchestrator.study.objective import RELIABLE, Objective
from orchestrator.study.replayed import Study
from orchestrator.study.result import StudyResult, TrialResult
from orchestrator.study.robustness import assess
from orchestrator.study.search import Search
from orchestrator.study.search_space import stated_defaults
from orchestrator.study.storage import open_storage
from orchestrator.tracking.mlflow import ParentRun
from trainables.settings import MINIATURE, LDetSchedule

LANDSCAPE, LANDSCAPE_PAGE = "landscape.png", "landscape.html"


def tune(experiment: Experiment, best: Path | None) -> bool:
    """Search for the best setting on the tuning concepts, print it, and write it to a file.

    Args:
        experiment: what to search, and on which concepts.
        best: the file of the best setting; see `CommandContext.open`.

    Returns:
        Whether as many settings as asked for were judged, and no run failed.

    Raises:
        InvalidInput: a setting of the search is wrong, see `check_study`; or something that it needs cannot be used.
    """
    check_study(experiment)
    place, is_live = experiment.study.recordings, experiment.study.live
    context = CommandContext.open(experiment, best, needs_models=place is None, trains=is_live)
    if is_live:
        result, recordings = search_live(context), []
    else:
        recordings = for_tuning(experiment, place) if place else context.recordings(context.split.tuning)
        result = search_by_replay(context, recordings)
    if result is not None:
        say_caveats(context.console, recordings or [context.experiment])
    context.say_where_runs_are()
    return result is not None and not result.failed


def search_by_replay(context: CommandContext, recordings: Sequence[Recording]) -> StudyResult:
    """Search on recordings of the tuning concepts, write the best setting to a file, and print the result.

    Raises:
        InvalidInput: the study cannot be made or kept, or its file holds a setting for something else.
    """
    experiment, settings = context.experiment, context.experiment.study
    study = Study(
        recordings,
        names=settings.criteria,
        method=experiment.method.name,
        objective=Objective.of(settings),
        fixed=with_form(
            settings.criteria,
            settings.fixed,
            form_for(settings.l_det, recordings),
            recordings[0].budget,
            stratified_every=stratified_every(recordings),
        ),
        name=experiment.name,
    )
    target = _target(context, recordings)
    if settings.objective == RELIABLE and (settings.trials is not None or settings.storage):
        context.say(
            "[yellow]every setting of each criterion's family is replayed: --trials and --study-storage are for the "
            "sampler of --objective mean and mean-lcb[/]"
        )
    with context.tracker.run("tune", experiment.public()) as parent:
        with (
            _say_how_to_go_on(context),
            study_bar(context.console, study.settings_to_try(settings.trials_wanted)) as bar,
        ):
            result = _search(study, settings, bar)
        landscape = _keep_result(context, parent, target, recordings, result)
    _say_result(context, target, recordings, result)
    landscape.say(context)
    return result


def search_live(context: CommandContext) -> StudyResult | None:
    """Search by training on the tuning concepts, write the best setting to a file and print the result.

    Returns:
        The result; None if recordings or trials are incomplete.

    Raises:
        InvalidInput: the search cannot begin, or its storage or the cluster cannot be used.
    """
    context = context.for_tuning()
    experiment, settings = context.experiment, context.experiment.study
    if settings.storage:
        open_storage(settings.storage)  # a problem with it must not show only after hours
    context.best_to_write(experiment.base_model.id, experiment.budget)  # nor one with that
    Objective.of(settings).check_carries(len(context.concepts))
    context.say_concepts()
    context.say("full-length runs of the tuning concepts establish the best quality:")
    if not make_recordings(context):
        return None
    recordings = context.recordings(context.concepts)
    target = _target(context, recordings)
    space = search_space(experiment, stated_defaults(experiment.method.name, recordings[0]))
    study = LiveStudy(experiment, context.concepts, recordings, space=space, objective=Objective.of(settings))
    with context.tracker.run("tune live", experiment.public()) as parent:
        with study_bar(context.console, settings.trials_wanted) as bar:
            try:
                result = _search(study.followed_by(parent, bar), settings, bar)
            except SearchIncomplete as incomplete:
                _say_incomplete(context, target, incomplete)
                return None
        landscape = _keep_result(context, parent, target, recordings, result)
    say_failed(context, result.failed)
    _say_result(context, target, recordings, result)
    if result.name in study.space.ranges:  # a fixed number was replayed, not trained
        best = result.best
        say_agreement(context, best.outcomes, recordings, best.criterion, settings.measure)
    landscape.say(context)
    return result


def _search(study: Search, settings: StudySettings, bar: StudyBar) -> StudyResult:
    return study.search(
        settings.trials_wanted,
        seed=settings.seed,
        storage=settings.storage,
        pareto=settings.pareto,
        on_trial=bar.tried,
    )


def _target(context: CommandContext, recordings: Sequence[Recording]) -> Path:
    """Return the file for the best setting; see `CommandContext.best_to_write`."""
    return context.best_to_write(_base_model(context, recordings), recordings[0].budget)


def _base_model(context: CommandContext, recordings: Sequence[Recording]) -> str:
    return recordings[0].identity.base_model or context.experiment.base_model.id


class _Marks(TypedDict):
    """What the picture and the page of a landscape mark; see `landscape_figure`."""

    title: str
    target: float
    default: tuple[float, float]
    chosen: tuple[float, float] | None


@dataclass(frozen=True)
class _Landscape:
    """The files that show DVAR's whole plane; none if the study did not search all of it."""

    files: tuple[Path, ...] = ()

    def say(self, context: CommandContext) -> None:
        if self.files:
            picture, page = self.files
            context.say(
                f"the landscape over N and alpha: {escape(str(picture))}; to explore it, open {escape(page.name)} "
                "in the same folder"
            )


def _keep_result(
    context: CommandContext, parent: ParentRun, target: Path, recordings: Sequence[Recording], result: StudyResult
) -> _Landscape:
    """Write the best setting and the landscape, and log them with the outcomes to MLflow."""
    experiment, best = context.experiment, result.best
    setting = best_file.from_result(result, experiment.method.name, _base_model(context, recordings))
    best_file.write(setting, target)
    landscape = _draw_landscape(context, target, recordings, result)
    for path in (target, *landscape.files):
        parent.log_artifact(path)
    for outcome in best.outcomes:
        child = parent.child(outcome.concept, {"criterion": repr(best.criterion)}, {"dvar.kind": "outcome"})
        parent.finish(child, outcome.metrics())
    metrics = {name: value for name, value in setting.params.items() if isinstance(value, int | float)}
    metrics |= {"iterations": setting.iterations, "quality_kept": setting.quality_kept}
    parent.log_metrics({f"best_{name}": float(value) for name, value in metrics.items()})
    return landscape


def _draw_landscape(
    context: CommandContext, target: Path, recordings: Sequence[Recording], result: StudyResult
) -> _Landscape:
    """Draw DVAR's plane beside the best setting's file, where the study searched DVAR."""
    default = next((default for default in result.default_results if default.name == "dvar"), None)
    if default is None or context.experiment.study.fixed.get("dvar"):
        return _Landscape()  # the plane is that of DVAR with nothing fixed
    landscape = survey(recordings, result.objective.metric)
    picture, page = (best_file.beside(target, name) for name in (LANDSCAPE, LANDSCAPE_PAGE))
    marks: _Marks = {
        "title": f"DVAR with the paper's L_det: {len(recordings)} recordings of {context.experiment.method.name}, "
        f"{result.budget} steps",
        "target": result.objective.quality_kept,
        "default": _point(default),
        "chosen": _chosen_on_plane(result),
    }
    draw_landscape(landscape, picture, **marks)
    write_landscape_page(landscape, page, **marks, command=_run_command(context, recordings))
    return _Landscape((picture, page))


def _run_command(context: CommandContext, recordings: Sequence[Recording]) -> str:
    """Return the command that personalizes with the recordings' method and model, quoted for a shell.

    Single settings that were changed with `--set` are not repeated in it.
    """
    experiment, base_model = context.experiment, _base_model(context, recordings)
    flags = {"--method": experiment.method.name, "--budget": str(recordings[0].budget)}
    if experiment.method.recipe:
        flags["--recipe"] = experiment.method.recipe
    if experiment.preset != MINIATURE:
        flags["--preset"] = experiment.preset
    if (experiment.preset, base_model) != (MINIATURE, MINIATURE):
        flags["--base-model"] = base_model
    return shlex.join(["dvar", "run", *(word for flag in flags.items() for word in flag)])


def _chosen_on_plane(result: StudyResult) -> tuple[int, float] | None:
    """Return DVAR's best setting; None if it watches another form of L_det than the plane, which shows the paper's."""
    best = next(best for best in result.best_of_each() if best.name == "dvar")
    is_papers = isinstance(best.criterion, LDetCriterion) and best.criterion.l_det_schedule == LDetSchedule()
    return _point(best) if is_papers else None


def _point(result: TrialResult) -> tuple[int, float]:
    return int(result.number("window")), result.number("threshold")


@contextmanager
def _say_how_to_go_on(context: CommandContext) -> Iterator[None]:
    """On an interrupt, print whether the tried settings are kept."""
    try:
        yield
    except KeyboardInterrupt:
        settings, storage = context.experiment.study, context.experiment.study.storage
        if settings.objective == RELIABLE:
            context.say("nothing is kept; the same command replays every setting again")
        elif storage:
            shown = escape(without_password(storage))
            context.say(f"the tried settings are kept in {shown}; the same command resumes from there")
        else:
            context.say("the tried settings are lost; --study-storage journal:study.log would have kept them")
        raise


def _say_incomplete(context: CommandContext, target: Path, incomplete: SearchIncomplete) -> None:
    trials, best = context.experiment.study.trials_wanted, escape(target.name)
    say_failed(context, incomplete.failed)
    context.say(
        f"[yellow]{incomplete.judged} of {trials} settings were tried, so {best} is not written; the same command "
        "resumes from there[/]"
    )


def _say_result(context: CommandContext, target: Path, recordings: Sequence[Recording], result: StudyResult) -> None:
    names = sorted({outcome.concept for outcome in result.best.outcomes})
    context.say(f"{result.trials} settings on {len(names)} tuning concepts ({escape(', '.join(names))}):")
    context.console.print(study_table(result))
    if context.experiment.study.pareto:
        against = "the share under the target" if result.objective.is_reliable else "quality"
        context.say(f"settings that no other beats in both cost and {against}:")
        context.console.print(front_table(result))
    context.say(promise(result.objective, len(names)))
    for line in (*best_lines(result), *noise_lines(recordings, result.objective.metric)):
        context.say(line)
    unit = "steps" if result.objective.cost == "iterations" else "s"
    for line in verdict_lines(result, unit):
        context.say(line)
    for line in robustness_lines(assess(result), unit):
        context.say(line)
    if not result.best.criterion.decides_by_step or result.best.criterion.keeps_best:
        context.say("[yellow]this criterion needs snapshots, so it can be compared but not run live[/]")
    context.say(f"written to {escape(str(target))}")
