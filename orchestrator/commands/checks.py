"""What `dvar tune` checks of an experiment before it reads or trains anything, and `dvar show` before it prints it."""

from orchestrator import plugins
from orchestrator.config.concepts import check_concepts
from orchestrator.config.experiment import Experiment
from orchestrator.study.l_det_form import with_form
from orchestrator.study.live import check_space
from orchestrator.study.objective import Objective
from orchestrator.study.recommendation import watching
from orchestrator.study.search_space import SearchSpace
from orchestrator.study.storage import check_storage
from search_spaces.defaults import MethodDefaults
from trainables.errors import InvalidInput
from trainables.settings import SAMPLES_OF
from trainables.text import did_you_mean


def check_study(experiment: Experiment) -> None:
    """Check all settings of an experiment's search that can be checked without its images, models and recordings.

    Raises:
        InvalidInput: recordings are given for a live search; a criterion is unknown, has no search space or cannot stop
            live runs; the metric, the method or a concept of the miniature is unknown; or the study's storage is no
            address.
    """
    settings = experiment.study
    if settings.live and settings.recordings:
        raise InvalidInput(
            f"--live trains, and replays no recordings of {settings.recordings!r}; omit --live or --recordings"
        )
    plugins.METHODS.source(experiment.method.name)
    space = search_space(experiment, None)
    if settings.live:
        check_space(experiment, space)
    if settings.recordings is None:
        if settings.measure not in SAMPLES_OF:
            hint = did_you_mean(settings.measure, SAMPLES_OF)
            raise InvalidInput(f"unknown metric {settings.measure!r}; {hint} (--measure)")
        check_concepts(experiment)
    Objective.of(settings)
    if settings.storage:
        check_storage(settings.storage)


def search_space(experiment: Experiment, defaults: MethodDefaults | None) -> SearchSpace:
    """Return the space that an experiment's study searches.

    Args:
        experiment: names the criteria and what is fixed.
        defaults: DVAR's setting as the method states it; see `study.search_space.stated_defaults`.

    Raises:
        InvalidInput: see `SearchSpace`.
    """
    settings = experiment.study
    names = watching(settings.criteria) if settings.live else settings.criteria
    fixed = with_form(
        names,
        settings.fixed,
        settings.l_det,
        experiment.budget,
        stratified_every=experiment.stratified_batch.every if experiment.stratified_batch else None,
    )
    return SearchSpace(names, experiment.budget, method=experiment.method.name, defaults=defaults, fixed=fixed)
