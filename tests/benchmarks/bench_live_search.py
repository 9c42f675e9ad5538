"""The cost of tuning DVAR by training every suggestion for real, and by replaying recordings.

    python tests/benchmarks/bench_live_search.py --yes [--trials 30] [--budget 160] [--concepts 3]

"By hand" is what Ray Tune and its OptunaSearch make easy: a trial takes a window and a threshold and personalizes the
held-out concepts under them. Both sides have the same concepts, seeds, ranges, objective, cluster and threads.
"""

import tempfile
import time
from collections.abc import Sequence

import optuna
from long_benchmark import cluster, is_wanted, parser, raise_failure
from search_by_hand import SearchSide, by_hand

from orchestrator import runs
from orchestrator.config import presets
from orchestrator.config.concepts import read_concepts
from orchestrator.config.experiment import Experiment
from orchestrator.config.split import split_concepts
from orchestrator.criteria import DVAR
from orchestrator.recordings.recording import Recording
from orchestrator.replay.outcome import Summary
from orchestrator.replay.replay import live_outcome
from orchestrator.study import Objective, Study
from trainables.data.concept import Concept
from trainables.settings import TRAIN_IMAGE

COMPARISON = """\
Textual Inversion of {budget} steps on the miniature's {names}.
Objective: the fewest mean iterations such that the mean quality kept, {measure} at the stop as a share of the best
of the full run, is at least {kept:.0%}.
by hand: OptunaSearch's TPE. A setting that keeps less counts as budget * (1 + what it lacks), and so ranks behind the
  full run. Samples are drawn only at the stop, and only of the training prompt. It is given the best of the full run;
  the recordings that this takes are charged to the replay.
replay: full-length recordings with all snapshots and samples, then the study of `dvar tune`. The quality at a stop is
  that of the last snapshot up to it, one every {every} steps; while quality rises, a live run has more.
Worker seconds are those of steps, L_det and samples on the workers, and of the replay's search, without loading models,
setting up concepts and writing recordings. Wall seconds hold everything.
"""


def record_and_replay(experiment: Experiment, concepts: Sequence[Concept]) -> tuple[SearchSide, list[Recording], Study]:
    """Do what `dvar record` and `dvar tune` do; return the cost, the recordings and the study."""
    begun = time.perf_counter()
    recordings = record(experiment, concepts)
    recorded = time.perf_counter()
    settings = experiment.study
    study = Study(recordings, method=experiment.method.name, objective=Objective(settings.quality_kept, kind="mean"))
    result = study.search(settings.trials_wanted, seed=experiment.seed)
    ended = time.perf_counter()
    feasible = sum(trial.is_feasible for trial in result.tried)
    side = SearchSide(
        name="replay",
        suggestions=result.trials,
        feasible=f"{feasible} of {len(result.tried)} settings, neighbours included, keep enough",
        steps=sum(len(recording.steps) for recording in recordings),
        training=sum(
            float((recording.steps.seconds + recording.steps.l_det_seconds).sum()) for recording in recordings
        ),
        sampling=sum(float(recording.quality.seconds.sum()) for recording in recordings),
        searching=ended - recorded,
        wall=ended - begun,
        best=result.best.criterion,
        iterations=result.best.iterations,
        quality_kept=result.best.quality_kept,
    )
    return side, recordings, study


def record(experiment: Experiment, concepts: Sequence[Concept]) -> list[Recording]:
    """Make full-length recordings and read them back."""
    results = runs.record(experiment, concepts)
    raise_failure(results)
    store = runs.recordings(experiment)
    return [recording for result in results if (recording := store.find(result.spec.identity))]


def say_what_is_compared(experiment: Experiment, concepts: Sequence[Concept]) -> None:
    """Print what is compared, and what counts."""
    print(
        COMPARISON.format(
            names=", ".join(concept.name for concept in concepts),
            budget=experiment.budget,
            measure=TRAIN_IMAGE,
            every=experiment.quality.every,
            kept=experiment.study.quality_kept,
        ),
        flush=True,
    )


def report(hand: SearchSide, replayed: SearchSide) -> None:
    """Print what both sides spent, the settings that they chose, and the ratios."""
    print("side     suggestions     steps  worker s   wall s  best setting                       iterations    kept")
    for side in (hand, replayed):
        print(side.line())
    for side in (hand, replayed):
        print(side.details())
    print(
        f"by hand takes {hand.steps / replayed.steps:.1f} times the optimizer steps, "
        f"{hand.worker_seconds / replayed.worker_seconds:.1f} times the worker seconds and "
        f"{hand.wall / replayed.wall:.1f} times the wall time of the replay"
    )


def report_both_ways(name: str, criterion: DVAR, study: Study, live: Summary) -> None:
    """Print a setting both replayed and trained for real: settings can only be compared on equal terms."""
    replayed = study.evaluate("dvar", {"window": criterion.window, "threshold": criterion.threshold})
    stops = ", ".join(f"{outcome.concept} {outcome.stop_step}" for outcome in replayed.outcomes)
    print(
        f"  {name:8s} {criterion!r:34s} replayed {replayed.iterations:6.1f} {replayed.quality_kept:7.1%}   "
        f"live {live.iterations.mean:6.1f} {live.quality_kept.mean:7.1%}   ({stops})"
    )


def prove(experiment: Experiment, concepts: Sequence[Concept], criterion: DVAR, full: Sequence[Recording]) -> Summary:
    """Train the concepts under a setting, as `dvar run` does."""
    results = runs.live(experiment, concepts, criterion)
    store = runs.live_runs(experiment)
    stopped = [run for result in results if (run := store.find(result.spec.identity))]
    return Summary.of([live_outcome(run, recording) for run, recording in zip(stopped, full, strict=True)])


def main() -> None:
    """Record and replay, then search by hand, and compare the two."""
    command_line = parser(trials=30)
    command_line.add_argument("--concepts", type=int, help="use only so many of the tuning concepts (default: all)")
    options = command_line.parse_args()
    if not is_wanted(options):
        return
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    experiment = presets.miniature()
    concepts = split_concepts(experiment, read_concepts(experiment)).tuning[: options.concepts]
    with tempfile.TemporaryDirectory() as folder, cluster():
        changes = {"storage": folder, "budget": options.budget or experiment.budget}
        experiment = experiment.model_copy(update=changes)
        say_what_is_compared(experiment, concepts)
        replayed, recordings, study = record_and_replay(experiment, concepts)
        # The search by hand cannot know what a full run reaches, so it is given the recordings' best.
        best = {recording.concept: float(recording.quality.scores[TRAIN_IMAGE].max()) for recording in recordings}
        hand = by_hand(experiment, concepts, best, options.trials)
        report(hand, replayed)
        print("both best settings on equal terms; their live runs are not counted above:", flush=True)
        for side in (hand, replayed):
            live = prove(experiment, concepts, side.best, recordings)
            report_both_ways(side.name, side.best, study, live)


if __name__ == "__main__":
    main()
