"""The cost of the orchestration: the share of workers' time inside `Training.step`, beside a plain Tune script.

    python tests/benchmarks/bench_overhead.py --yes [--trials 24] [--budget 160]

Both sides train the same concepts with the same settings on the same cluster, one side after the other. Then the time
from a trial's end to the next one's first step is measured, with and without reuse of actors. Samples and set-up weigh
more in shorter trials, so the budget is that of the preset.
"""

import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from unittest import mock

from long_benchmark import LOGGERS, WORKERS, cluster, is_wanted, parser, raise_failure
from ray import tune
from rich.console import Console
from worker_ledger import LOAD, PARTS, REPORT, SAMPLES, SET_UP, STEP, Ledger, TrialTimes, timed_personalization

from orchestrator import plugins, runs
from orchestrator.config import presets
from orchestrator.config.experiment import Experiment
from orchestrator.report.console.progress import run_bars
from orchestrator.tracking.mlflow import Tracker
from trainables.data.concept import Concept
from trainables.methods import MethodSpec
from trainables.miniature import concepts as toys
from trainables.miniature.entries import TEST
from trainables.models.files import resolve
from trainables.models.stable_diffusion import load
from trainables.training import personalization
from trainables.training.training import Training

TARGET = 0.9
GAP_TRIALS, GAP_BUDGET = 8, 12

COMPARISON = """\
{trials} trials of {budget} steps of Textual Inversion on the miniature, {workers} workers of one core and one thread.
orchestration: `runs.record` as `dvar record` calls it, with recordings, checkpoints, MLflow and bars; samples only at
  the end of a trial. An actor keeps its models.
plain: a function that loads the models, trains with the same `Training`, and reports every step by `tune.report`;
  Tune's own loggers, no samples, no recordings, no checkpoints.
What is compared is the share of the workers' time inside `Training.step` (the update and L_det), from each worker's
first step, which leaves start-up out, to the last step of all.
"""


def plain(
    config: Mapping[str, str],
    experiment: Experiment,
    method: MethodSpec,
    concepts: Mapping[str, Concept],
    folder: Path,
) -> None:
    """Train a concept as a plain script around Tune does."""
    ledger = Ledger(folder)
    base = ledger.timed(LOAD, load)(resolve(experiment.base_model), experiment.base_model)
    concept = concepts[config["concept"]]
    training = ledger.timed(SET_UP, Training)(base, method(), concept, fixed_batch=experiment.fixed_batch)
    step, report = ledger.timed(STEP, training.step), ledger.timed(REPORT, tune.report)
    for _ in range(experiment.budget):
        row = step()
        report({"l_det": row.l_det, "train_loss": row.train_loss})
    ledger.end()


def orchestrated(
    experiment: Experiment, concepts: Sequence[Concept], folder: Path, *, reuse: bool = True
) -> TrialTimes:
    """Do what `dvar record` does, with the bars drawn on a terminal that nobody sees."""
    experiment, ledgers = beside(experiment, folder)
    os.environ[LOGGERS] = "1"
    config = tune.TuneConfig
    with (
        mock.patch.object(personalization, "Personalization", timed_personalization(ledgers)),
        mock.patch.object(tune, "TuneConfig", lambda **given: config(**given | {"reuse_actors": reuse})),
        open(os.devnull, "w") as nowhere,
        Tracker(experiment).run("record", experiment.public()) as parent,
        run_bars(Console(file=nowhere, force_terminal=True), "recording") as shown,
    ):
        raise_failure(runs.record(experiment, concepts, [parent, shown]))
    return TrialTimes(ledgers)


def plainly(experiment: Experiment, concepts: Sequence[Concept], folder: Path) -> TrialTimes:
    """Run the plain script with Tune's defaults, its own loggers included."""
    experiment, ledgers = beside(experiment, folder)
    os.environ.pop(LOGGERS, None)
    chosen = experiment.method
    function = tune.with_parameters(
        plain,
        experiment=experiment,
        method=MethodSpec(plugins.METHODS.spec(chosen.name), chosen.settings, chosen.recipe),
        concepts={concept.name: concept for concept in concepts},
        folder=ledgers,
    )
    results = tune.Tuner(
        tune.with_resources(function, {"cpu": 1}),
        param_space={"concept": tune.grid_search([concept.name for concept in concepts])},
        run_config=tune.RunConfig(storage_path=str(folder / "ray"), verbose=0),
    ).fit()
    if results.errors:
        raise results.errors[0]
    return TrialTimes(ledgers)


def beside(experiment: Experiment, folder: Path) -> tuple[Experiment, Path]:
    """Return the experiment with its storage in a folder, and a folder for ledgers."""
    ledgers = folder / "ledgers"
    ledgers.mkdir(parents=True)
    return experiment.model_copy(update={"storage": str(folder / "storage")}), ledgers


def say(name: str, side: TrialTimes) -> None:
    """Print the key figures of a side."""
    print(
        f"{name}: {side.parts()[STEP] / side.core_seconds:.1%} inside Training.step; "
        f"{1e3 * side.step:.1f} ms per step, median; wall {side.wall:.1f} s",
        flush=True,
    )


def report(ours: TrialTimes, plain: TrialTimes) -> None:
    """Print what both sides spent their time on, and the ratios."""
    sides = {"orchestration": ours, "plain": plain}
    parts = {name: side.parts() for name, side in sides.items()}
    print(f"{'seconds of the workers':44s}" + "".join(f"{name:>22s}" for name in sides))
    for what in PARTS:
        columns = [(parts[name][what], side.core_seconds) for name, side in sides.items()]
        print(f"  {what:42s}" + "".join(f"{part:>13.1f} {part / whole:>8.1%}" for part, whole in columns))
    print(f"  {'all':42s}" + (" " * 9).join(f"{side.core_seconds:>13.1f}" for side in sides.values()))
    inside, samples = parts["orchestration"][STEP], parts["orchestration"][SAMPLES]
    print(
        f"orchestration: {inside / ours.core_seconds:.1%} (target: {TARGET:.0%}); "
        f"{inside / (ours.core_seconds - samples):.1%} without the samples, which the plain script does not draw"
    )
    print(f"the plain script takes {plain.wall / ours.wall:.2f} times the wall time of the orchestration", flush=True)


def report_gaps(experiment: Experiment, concepts: Sequence[Concept], folder: Path) -> None:
    """Measure and print the time between trials, with and without reuse of actors."""
    experiment = experiment.model_copy(update={"budget": GAP_BUDGET})
    print(
        f"from a trial's end to the next one's first step, orchestrated, {len(concepts)} trials of {GAP_BUDGET} steps:"
    )
    means = []
    for reuse in (False, True):
        side = orchestrated(experiment, concepts, folder / f"reuse-{reuse}", reuse=reuse)
        gaps = side.gaps(lambda trial: trial.first_step)
        means.append(statistics.fmean(gaps))
        print(f"  reuse_actors={reuse!s:5s} {means[-1]:>6.2f} s, {min(gaps):.2f} to {max(gaps):.2f}", flush=True)
    print(f"reuse of actors makes this {means[0] / means[1]:.1f} times shorter")


def main() -> None:
    """Run both sides and compare them."""
    options = parser(trials=24).parse_args()
    if not is_wanted(options):
        return
    experiment = presets.miniature()
    quality = replace(experiment.quality, every=None)
    experiment = experiment.model_copy(update={"budget": options.budget or experiment.budget, "quality": quality})
    concepts = toys.load(TEST[: options.trials])
    with tempfile.TemporaryDirectory() as name, cluster():
        folder = Path(name)
        print(COMPARISON.format(trials=len(concepts), budget=experiment.budget, workers=WORKERS), flush=True)
        ours = orchestrated(experiment, concepts, folder / "orchestrated")
        say("orchestration", ours)
        beside_it = plainly(experiment, concepts, folder / "plain")
        say("plain", beside_it)
        report(ours, beside_it)
        report_gaps(experiment, concepts[:GAP_TRIALS], folder)


if __name__ == "__main__":
    main()
