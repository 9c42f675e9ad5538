"""`dvar tune`: searches the best setting, by replay or live, and prints how far it can be trusted."""

from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from orchestrator.commands.context import CommandContext, make_recordings, say_agreement, say_failed
from orchestrator.config.experiment import Experiment
from orchestrator.recordings.collection import for_tuning
from orchestrator.recordings.recording import Recording
from orchestrator.replay.landscape import survey
from orchestrator.report.console.progress import study_bar
from orchestrator.report.console.tables import front_table, study_table
from orchestrator.report.figures.landscape import draw_landscape
from orchestrator.report.html.landscape import write_landscape_page
from orchestrator.storage.passwords import without_password
from orchestrator.study import best as best_file
from orchestrator.study.replayed import Study
from orchestrator.study.result import Objective, StudyResult, TrialResult
from orchestrator.study.robustness import Robustness, assess
from orchestrator.study.search_space import SearchSpace
from orchestrator.study.storage import open_storage
from orchestrator.tracking.mlflow import ParentRun
from search_spaces.defaults import MethodDefaults
from trainables.errors import InvalidInput
from trainables.settings import OF_THE_MINIATURE, SAMPLES_OF

LANDSCAPE, LANDSCAPE_PAGE = "landscape.png", "landscape.html"


def tune(experiment: Experiment, best: Path | None) -> bool:
    """Search the best setting on the tuning concepts, print it, and write best.yaml; return whether all went well."""
    place, is_live = experiment.study.recordings, experiment.study.live
    if is_live and place:
        raise InvalidInput(f"--live trains, and replays no recordings of {place!r}; leave one of the two out")
    context = CommandContext(experiment, best, needs_models=place is None)
    is_good = _tune_live(context) if is_live else tune_by_replay(context) is not None
    context.say_where_runs_are()
    return is_good


def tune_by_replay(context: CommandContext) -> StudyResult:
    """Search on the recordings of the tuning concepts, write best.yaml, and print what was found."""
    experiment, settings = context.experiment, context.experiment.study
    place = settings.recordings
    recordings = for_tuning(experiment, place) if place else context.recordings(context.split.tuning)
    study = Study(
        recordings,
        names=settings.criteria,
        method=experiment.method.name,
        objective=Objective(settings.quality_kept, settings.measure, settings.cost),
        fixed=settings.fixed,
    )
    with context.tracker.run("tune", experiment.public()) as parent:
        with study_bar(context.console, settings.trials_wanted) as bar:
            try:
                result = study.search(
                    settings.trials_wanted,
                    seed=settings.seed,
                    storage=settings.storage,
                    study_name=experiment.name,
                    pareto=settings.pareto,
                    on_trial=bar.tried,
                )
            except KeyboardInterrupt:
                _say_how_to_go_on(context)
                raise
        landscape = _keep_result(context, parent, recordings, result)
    _say_result(context, result)
    if place and all(one.is_of_the_miniature for one in recordings):
        context.say(OF_THE_MINIATURE)
    _say_landscape(context, landscape)
    return result


def _tune_live(context: CommandContext) -> bool:
    """Search by training on the tuning concepts; return whether all went well."""
    from orchestrator.study.live import LiveStudy  # it brings Ray

    context = context.of_tuning_concepts()
    experiment, settings = context.experiment, context.experiment.study
    _check_live_search(experiment)
    context.say("what the best quality is, full-length runs say:")
    if not make_recordings(context):
        return False
    recordings = context.recordings(context.concepts)
    objective = Objective(settings.quality_kept, settings.measure, settings.cost)
    space = _space(experiment, recordings[0].method_defaults)
    study = LiveStudy(experiment, context.concepts, recordings, space=space, objective=objective)
    with context.tracker.run("tune live", experiment.public()) as parent:
        with study_bar(context.console, settings.trials_wanted) as bar:
            found = study.search(
                settings.trials_wanted,
                seed=settings.seed,
                storage=settings.storage,
                pareto=settings.pareto,
                listeners=[parent, bar],
                on_trial=bar.tried,
            )
        landscape = (
            _keep_result(context, parent, recordings, found.result) if found.result and found.is_finished else []
        )
    say_failed(context, found.failed)
    if found.result is None or not found.is_finished:
        count = found.result.trials if found.result else 0
        context.say(
            f"[yellow]{count} of {settings.trials_wanted} settings were tried, so {escape(context.best_path.name)} "
            "is not written; the same command goes on from there[/]"
        )
        return False
    _say_result(context, found.result)
    say_agreement(context, found.result.best.outcomes, recordings, found.result.best.criterion, settings.measure)
    _say_landscape(context, landscape)
    return not found.failed


def _space(experiment: Experiment, defaults: MethodDefaults | None) -> SearchSpace:
    settings = experiment.study
    return SearchSpace(
        settings.criteria, experiment.budget, method=experiment.method.name, defaults=defaults, fixed=settings.fixed
    )


def _check_live_search(experiment: Experiment) -> None:
    """Refuse what cannot be searched live before full-length runs take their hours.

    Raises:
        InvalidInput: a criterion cannot stop live runs, the measure is unknown, or the study's storage cannot be used.
    """
    from orchestrator.study.live import check_space

    settings = experiment.study
    check_space(experiment, _space(experiment, None))
    if settings.measure not in SAMPLES_OF:
        raise InvalidInput(f"unknown measure {settings.measure!r}; available: {', '.join(SAMPLES_OF)}")
    if settings.storage:
        open_storage(settings.storage)


def _keep_result(
    context: CommandContext, parent: ParentRun, recordings: Sequence[Recording], result: StudyResult
) -> list[Path]:
    """Write best.yaml and the landscape, and log them with the figures; return the landscape's files."""
    experiment = context.experiment
    found = best_file.from_result(result, experiment.method.name, experiment.base_model.id)
    best_file.write(found, context.best_path)
    landscape = _draw_landscape(context, recordings, result)
    for path in (context.best_path, *landscape):
        parent.log_artifact(path)
    for outcome in result.best.outcomes:
        child = parent.child(outcome.concept, {"criterion": repr(result.best.criterion)}, {"dvar.kind": "outcome"})
        parent.finish(child, outcome.metrics())
    figures = {"iterations": found.iterations, "quality_kept": found.quality_kept}
    numbers = {name: value for name, value in found.params.items() if isinstance(value, int | float)}
    parent.log_metrics({f"best_{name}": float(value) for name, value in (numbers | figures).items()})
    return landscape


def _say_landscape(context: CommandContext, landscape: Sequence[Path]) -> None:
    if landscape:
        picture, page = landscape
        context.say(
            f"the whole plane of N and alpha: {escape(str(picture))}; to explore, open {escape(page.name)} beside it"
        )


def _draw_landscape(context: CommandContext, recordings: Sequence[Recording], result: StudyResult) -> list[Path]:
    """Draw DVAR's plane beside best.yaml, where the study searched DVAR; return the picture and the page."""
    defaults = next((one for one in result.default_results if one.name == "dvar"), None)
    if defaults is None or context.experiment.study.fixed.get("dvar"):
        return []  # the plane is that of DVAR with nothing fixed
    landscape = survey(recordings, result.objective.metric)
    title = f"DVAR on {len(recordings)} recordings of {context.experiment.method.name}, {result.budget} steps"
    chosen = _point(result.best) if result.best.name == "dvar" else None
    paths = [context.best_path.with_name(name) for name in (LANDSCAPE, LANDSCAPE_PAGE)]
    for draw, path in zip((draw_landscape, write_landscape_page), paths, strict=True):
        draw(landscape, path, wanted=result.objective.quality_kept, usual=_point(defaults), chosen=chosen, title=title)
    return paths


def _point(one: TrialResult) -> tuple[int, float]:
    return int(one.number("window")), one.number("threshold")


def _say_how_to_go_on(context: CommandContext) -> None:
    storage = context.experiment.study.storage
    if storage:
        context.say(
            f"what was tried is kept in {escape(without_password(storage))}; the same command goes on from there"
        )
    else:
        context.say("what was tried was kept in memory alone; --study-storage journal:study.log would keep it")


def _say_trust(context: CommandContext, result: StudyResult) -> None:
    """Say how far the choice depends on the concepts that it was made on."""
    robustness, unit = assess(result), "steps" if result.objective.cost == "iterations" else "s"
    cost, kept = robustness.cost, robustness.quality_kept
    if robustness.near_ranges and (ranges := _ranges(robustness)):
        context.say(f"as good within 5 %, among the settings tried: {ranges}")
    if not robustness.left_out:
        context.say("[yellow]one concept says nothing of others; tune on more[/]")
        return
    context.say(
        f"nine of ten resampled sets of these concepts put it at {cost.low:.1f} to {cost.high:.1f} {unit} and "
        f"{100 * kept.low:.1f} to {100 * kept.high:.1f} %; {100 * robustness.risk:.0f} of 100 sets keep less than "
        f"{100 * robustness.wanted:.0f} %"
    )
    context.say(
        f"chosen without the concept that it is applied to: {robustness.left_out_cost:.1f} {unit} and "
        f"{100 * robustness.left_out_quality:.1f} % (chosen with it: {cost.mean:.1f} and {100 * kept.mean:.1f})"
    )
    if robustness.is_inconclusive:
        context.say(
            f"[yellow]these concepts are too few, or too different, to say that it keeps "
            f"{100 * robustness.wanted:.0f} % "
            "on others; tune on more, or ask for more with --keep[/]"
        )


def _ranges(robustness: Robustness) -> str:
    parts = [f"{key} {low:g} to {high:g}" for key, (low, high) in robustness.near_ranges.items() if low != high]
    return ", ".join(parts)


def _say_result(context: CommandContext, result: StudyResult) -> None:
    names = sorted({outcome.concept for outcome in result.best.outcomes})
    context.say(f"{result.trials} settings on {len(names)} tuning concepts ({escape(', '.join(names))}):")
    context.console.print(study_table(result))
    if context.experiment.study.pareto:
        context.say("settings that none beats in both cost and quality:")
        context.console.print(front_table(result))
    best = result.best
    if not best.is_feasible:
        context.say(
            f"[yellow]no setting keeps {100 * result.objective.quality_kept:.0f} % of the best "
            f"{result.objective.metric}; this one keeps most. Record a longer budget, or ask for less with --keep.[/]"
        )
    saved = 100 * (1 - best.summary.share.mean)
    context.say(
        f"best: [bold]{best.criterion}[/] needs {best.iterations:.1f} of {result.budget} steps (saves {saved:.1f} %) "
        f"and keeps {100 * best.quality_kept:.1f} % of the best {result.objective.metric}"
    )
    _say_trust(context, result)
    if not best.criterion.decides_by_step:
        context.say("[yellow]it watches samples, so it can be compared, but not run live[/]")
    context.say(f"written to {escape(str(context.best_path))}")
