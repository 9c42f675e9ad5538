"""Experiment: the typed description of what to personalize and how; `config.load.build` makes it."""

from dataclasses import asdict
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from orchestrator import plugins
from orchestrator.config.fields import (
    MAX_STEPS,
    MAX_VALUES,
    CountOrNames,
    Names,
    Place,
    PlainDict,
    Seed,
    Settings,
    Text,
)
from orchestrator.storage.passwords import without_password
from trainables.data.concept import Concept
from trainables.errors import InvalidInput
from trainables.settings import (
    HELD_OUT,
    MINIATURE,
    PAPER,
    RECIPE_VERSION,
    STRATIFIED,
    TRAIN_IMAGE,
    BaseModelSettings,
    FixedBatchSettings,
    HeldOutSettings,
    QualitySettings,
    StratifiedBatchSettings,
)
from trainables.text import composed
from trainables.types import JsonDict

#: Columns of a recording's steps table besides those of the fixed inputs.
OTHER_COLUMNS = 6

#: The key of each batch of inputs, by the batch's name.
BATCH_KEYS = {PAPER: "fixed_batch", STRATIFIED: "stratified_batch", HELD_OUT: "held_out"}

ALL = "all"
TEXTUAL_INVERSION = "textual_inversion"
#: Number of settings that a study tries: a replay takes milliseconds, a live run as long as its training.
REPLAYED_TRIALS, LIVE_TRIALS = 200, 30


class MethodSettings(Settings):
    """The personalization method, and what differs from its defaults."""

    name: Text = TEXTUAL_INVERSION
    """Name of the method, or "module:Class"."""
    recipe: Text | None = None
    """Named recipe of the method (`dvar methods` lists them); None takes the method's defaults."""
    settings: PlainDict = Field(default_factory=dict)
    """Arguments of the method's constructor."""


class ConceptSettings(Settings):
    """Which concepts are personalized, and which of them tune."""

    source: Text = MINIATURE
    """ "miniature", a folder of concept folders, or a single concept folder."""
    only: Names | None = None
    """Names of the concepts to use; None uses all, but only a few of the miniature's 56, where ["all"] uses all."""
    tuning: CountOrNames = None
    """Names or number of the concepts on which (N, alpha) is chosen; None takes those that the miniature sets aside,
    and half of the concepts of other sources, but at most 4 as in the paper."""

    @field_validator("only", "tuning")
    @classmethod
    def _compose(cls, names: list[str] | int | None) -> list[str] | int | None:
        return [composed(name) for name in names] if isinstance(names, list) else names


class StudySettings(Settings):
    """How to search for the best setting of a criterion: the objective, the criteria, and where the study is kept."""

    trials: int | None = Field(default=None, ge=1, le=1_000_000)
    """Total number of settings to try; None tries 200 by replay, and 30 live."""
    live: bool = False
    """Whether to train under each setting on Ray Tune, instead of replaying recordings."""
    objective: Literal["reliable", "mean-lcb", "mean"] = "reliable"
    """What a setting must keep on new concepts: the target for all but a share of them, on average less its standard
    error, or on average (the paper's); see `study.objective`."""
    risk: float | None = Field(default=None, gt=0, lt=1)
    """For "reliable", share of new concepts that may keep less than the target; None takes .25, or the least that the
    number of tuning concepts can carry."""
    quality_kept: float = Field(default=0.9, gt=0, le=1)
    """The target: share of the best quality that is to be kept (paper, section 4.2: 90 %)."""
    measure: Text = TRAIN_IMAGE
    """The quality metric that counts."""
    recordings: Text | None = None
    """Where the recordings are: "builtin", a pack file, or another storage; None takes the experiment's own storage."""
    l_det: Literal["paper", "stratified"] | None = None
    """Which L_det criteria look at: the paper's, a plain mean over its batch after every step; or the stratified batch,
    relative to the base model, two inputs in turn every five steps. None takes the second where the recordings, or for
    a live search the experiment, have that batch, and otherwise the same form of the paper's batch."""
    criteria: Names = Field(default=["few_iterations", "dvar"])
    """The criteria to search, each in its own space. A fixed number of steps is preferred unless a rule beats it."""
    fixed: dict[str, PlainDict] = Field(default_factory=dict)
    """Settings that are not searched, by criterion: {"dvar": {"stride": 10}}."""
    cost: Literal["iterations", "seconds"] = "iterations"
    """What to minimize: optimizer steps, or measured seconds including the criterion's own cost."""
    pareto: bool = False
    """Whether cost and quality are two objectives; otherwise quality is a constraint."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of the sampler."""
    storage: Text | None = None
    """"journal:PATH", "sqlite:///PATH" or a database URL, to keep and resume the study; None keeps a replayed study in
    memory, and a live study beside its runs."""

    @property
    def trials_wanted(self) -> int:
        """Total number of settings to try: `trials`, or the default of a replayed or live search."""
        return self.trials or (LIVE_TRIALS if self.live else REPLAYED_TRIALS)


class Resources(Settings):
    """The Ray cluster that runs the trials, and the resources of each trial."""

    address: Text | None = None
    """host:port of the cluster's head, or "auto"; None takes `RAY_ADDRESS`, else starts a local cluster."""
    cpus_per_trial: float = Field(default=1, gt=0, le=10_000)
    """Logical CPUs per trial; also the number of threads of a trial on the CPU."""
    gpus_per_trial: float = Field(default=0, ge=0, le=10_000)
    """GPUs per trial, fractions allowed."""
    max_concurrent: int | None = Field(default=None, ge=1, le=100_000)
    """Maximum number of trials at once; None runs as many as fit."""
    max_failures: int = Field(default=0, ge=0, le=100_000)
    """How often a trial whose worker dies is retried; it resumes from its checkpoint."""
    report_steps: int | None = Field(default=None, ge=1, le=MAX_STEPS)
    """Optimizer steps per report; None reports about once a second."""
    checkpoint_seconds: float = Field(default=30, ge=0, le=10_000_000)
    """Seconds between checkpoints."""
    node_wait_seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """How long to wait for an autoscaler's node when a trial fits on none; None waits 15 minutes on clusters of Ray's
    launcher and its autoscaler v2, and not at all elsewhere."""


class Experiment(Settings):
    """What is personalized, for how long, and how it is scored, searched, scheduled and stored."""

    name: Text = "personalization"
    """Name of the experiment in MLflow."""
    preset: Text = MINIATURE
    """The preset from which the values started."""
    base_model: BaseModelSettings = BaseModelSettings()
    method: MethodSettings = MethodSettings()
    concepts: ConceptSettings = ConceptSettings()
    budget: int = Field(default=150, ge=4, le=MAX_STEPS)
    """Optimizer steps of a full-length run."""
    seed: Seed = 0
    """Seed of the training."""
    seeds: list[Seed] | None = Field(default=None, min_length=1)
    """Seeds of the training of full-length runs, which use each; None uses only `seed`. Live runs use the first."""
    fixed_batch: FixedBatchSettings = FixedBatchSettings()
    """The paper's batch of inputs of L_det."""
    stratified_batch: StratifiedBatchSettings | None = None
    """A batch with evenly spread timesteps, beside the paper's; null draws none."""
    held_out: HeldOutSettings | None = None
    """Images that are never trained on, whose L_det is recorded beside; null holds none out."""
    quality: QualitySettings = QualitySettings()
    study: StudySettings = StudySettings()
    resources: Resources = Resources()
    storage: Place = "dvar-runs"
    """Folder or URL for recordings, runs and results."""

    @model_validator(mode="after")
    def _check_size(self) -> "Experiment":
        """Refuse a run whose own table would be refused as too large when it is read."""
        sizes = {f"{BATCH_KEYS[name]}.size": batch.size for name, batch in self.batches.items() if batch}
        inputs = sum(sizes.values())
        values = self.budget * (inputs + OTHER_COLUMNS)
        if values > MAX_VALUES:
            raise InvalidInput(
                f"a budget of {self.budget:,} steps with {inputs:,} fixed inputs makes {values:,} "
                f"values per run, and a recording holds at most {MAX_VALUES:,}; lower budget or {' or '.join(sizes)}"
            )
        return self

    @property
    def batches(self) -> dict[str, FixedBatchSettings | StratifiedBatchSettings | HeldOutSettings | None]:
        """The batches by name, as `settings.BATCHES` has them; None where they are off."""
        return {PAPER: self.fixed_batch, STRATIFIED: self.stratified_batch, HELD_OUT: self.held_out}

    def of_seeds(self) -> list["Experiment"]:
        """Return a copy of the experiment for each seed, in the order of the seeds."""
        seeds = [self.seed] if self.seeds is None else dict.fromkeys(self.seeds)
        return [self.model_copy(update={"seed": seed}) for seed in seeds]

    def public(self) -> JsonDict:
        """Return every value as plain JSON, to be shown and logged: every address loses its password."""
        values: JsonDict = _public(self.model_dump(mode="json"))
        return values

    def identity(self, concept: Concept, fingerprint: str) -> JsonDict:
        """Return what determines a full-length run of a concept, as plain JSON; see `recordings.identity.RunIdentity`.

        Args:
            concept: what the run learns.
            fingerprint: hash of the base model's files.

        Raises:
            InvalidInput: the method is unknown.
        """
        dump = self.model_dump(mode="json")
        source = plugins.METHODS.source(self.method.name)
        return {
            "recipe": RECIPE_VERSION,
            "base_model": dump["base_model"] | {"fingerprint": fingerprint},
            "method": dump["method"] | ({"source": source} if source else {}),
            "concept": concept.identity,
            "budget": self.budget,
            "seed": self.seed,
            "fixed_batch": dump["fixed_batch"],
            "quality": quality_identity(self.quality),
        } | self._further_batches()

    def _further_batches(self) -> JsonDict:
        """Return what determines the batches beside the paper's; their images are part of the concept."""
        batches: JsonDict = {}
        if self.stratified_batch:
            batches["stratified_batch"] = asdict(self.stratified_batch)
        if self.held_out:
            settings = asdict(self.held_out)
            batches["held_out"] = {name: settings[name] for name in settings if name not in ("images", "source")}
        return batches


def quality_identity(quality: QualitySettings) -> JsonDict:
    """Return what determines the scores of a run, as plain JSON; what earlier versions lacked is absent while off."""
    settings = asdict(quality)
    return settings if quality.repeats else {name: value for name, value in settings.items() if name != "repeats"}


def _public(value: Any) -> Any:
    """Return plain JSON without the password of any address in it."""
    if isinstance(value, dict):
        return {key: _public(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_public(inner) for inner in value]
    return without_password(value) if isinstance(value, str) else value
