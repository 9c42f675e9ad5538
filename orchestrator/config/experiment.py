"""Experiment: the typed description of what to personalize and how; `config.load` makes one."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from orchestrator import plugins
from orchestrator.storage.passwords import without_password
from trainables.data.concept import Concept
from trainables.settings import (
    MINIATURE,
    RECIPE_VERSION,
    TRAIN_IMAGE,
    BaseModelSettings,
    FixedBatchSettings,
    QualitySettings,
)
from trainables.types import JsonDict

ALL = "all"
TEXTUAL_INVERSION = "textual_inversion"
#: Settings that a study tries: a replay takes milliseconds, a live run as long as it trains.
REPLAYED_TRIALS, LIVE_TRIALS = 200, 30


class Settings(BaseModel):
    """Frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class MethodSettings(Settings):
    """Which personalization method runs, and what of it differs from its defaults."""

    name: str = TEXTUAL_INVERSION
    """A method's name, or "module:Class"."""
    recipe: str | None = None
    """One of the method's named recipes (`dvar methods` lists them); None takes its defaults."""
    settings: JsonDict = Field(default_factory=dict)
    """Arguments of the method's constructor."""


class ConceptSettings(Settings):
    """Which concepts are personalized, and which of them tune."""

    source: str = MINIATURE
    """ "miniature", a folder of concept folders, or one concept folder."""
    only: list[str] | None = None
    """Names of the concepts to use; None uses all, and of the miniature's 56 a few: there, "all" uses all."""
    tuning: list[str] | int | None = None
    """The concepts on which (N, alpha) is chosen: their names, or how many; None takes the
    miniature's own, and of other sources half, at most the paper's 4."""


class StudySettings(Settings):
    """How the best setting is searched."""

    trials: int | None = Field(default=None, ge=1)
    """Settings to try in all; None tries 200 by replay, and 30 live."""
    live: bool = False
    """Whether each setting is trained for real, on Ray Tune, instead of replayed over recordings."""
    quality_kept: float = Field(default=0.9, gt=0, le=1)
    """Mean share of the best quality that a setting must keep (paper, section 4.2: 90 %)."""
    measure: str = TRAIN_IMAGE
    """The quality that counts."""
    recordings: str | None = None
    """Where the recordings are: "builtin", a pack's file, or another storage; None takes the experiment's own."""
    criteria: list[str] = ["dvar"]
    """The criteria to search, each in its own space."""
    fixed: dict[str, JsonDict] = Field(default_factory=dict)
    """Settings that the search leaves alone, by criterion: {"dvar": {"stride": 10}}."""
    cost: Literal["iterations", "seconds"] = "iterations"
    """What is saved: optimizer steps, or measured seconds with what the criterion itself costs."""
    pareto: bool = False
    """Whether cost and quality are two objectives; otherwise quality is a constraint."""
    seed: int = 0
    """Of the sampler."""
    storage: str | None = None
    """"journal:PATH", "sqlite:///PATH" or a database's URL, to keep and resume the study; None keeps it in memory, and
    a live one beside its runs."""

    @property
    def trials_wanted(self) -> int:
        """Settings to try in all."""
        return self.trials or (LIVE_TRIALS if self.live else REPLAYED_TRIALS)


class Resources(Settings):
    """Which Ray cluster runs the trials, and what one of them takes of it."""

    address: str | None = None
    """host:port of the cluster's head, or "auto"; None takes `RAY_ADDRESS`, else starts one here."""
    cpus_per_trial: float = Field(default=1, gt=0)
    """Logical CPUs; also the threads that a trial on the CPU uses."""
    gpus_per_trial: float = Field(default=0, ge=0)
    """GPUs, fractions allowed."""
    max_concurrent: int | None = Field(default=None, ge=1)
    """Trials at once; None takes what fits."""
    max_failures: int = Field(default=0, ge=0)
    """How often a trial whose worker dies is started again; it goes on from its checkpoint."""
    report_steps: int | None = Field(default=None, ge=1)
    """Optimizer steps a report; None reports about once a second."""
    checkpoint_seconds: float = Field(default=30, ge=0)
    """Seconds between checkpoints."""


class Experiment(Settings):
    """A run: what is personalized, how long, how it is scored, searched and stored."""

    name: str = Field(default="personalization", min_length=1)
    """The name of the experiment in MLflow."""
    preset: str = MINIATURE
    """The preset that the values started from."""
    base_model: BaseModelSettings = BaseModelSettings()
    method: MethodSettings = MethodSettings()
    concepts: ConceptSettings = ConceptSettings()
    budget: int = Field(default=150, ge=4)
    """Optimizer steps of a full-length run."""
    seed: int = 0
    """Of training."""
    seeds: list[int] | None = Field(default=None, min_length=1)
    """Several seeds of training for the full-length runs; None is `seed` alone. Live runs take the first."""
    fixed_batch: FixedBatchSettings = FixedBatchSettings()
    quality: QualitySettings = QualitySettings()
    study: StudySettings = StudySettings()
    resources: Resources = Resources()
    storage: str = "dvar-runs"
    """A folder or URL for recordings, runs and results."""

    def of_seeds(self) -> list["Experiment"]:
        """Return the experiment of each seed alone, the first first."""
        seeds = [self.seed] if self.seeds is None else dict.fromkeys(self.seeds)
        return [self.model_copy(update={"seed": seed}) for seed in seeds]

    def public(self) -> JsonDict:
        """Return every value as plain JSON, to be shown and logged: without the password of a database."""
        values = self.model_dump(mode="json")
        if values["study"]["storage"]:
            values["study"]["storage"] = without_password(values["study"]["storage"])
        return values

    def identity(self, concept: Concept, fingerprint: str) -> JsonDict:
        """Return what determines a full-length run of a concept, as plain JSON; see `recordings.identity.RunIdentity`.

        Args:
            concept: what is learned.
            fingerprint: of the base model's files.
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
            "quality": dump["quality"],
        }
