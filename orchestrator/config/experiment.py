"""Experiment: the typed description of what to personalize and how, from a preset, a YAML file and flags."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.config import yaml as plain_yaml
from orchestrator.storage.passwords import without_password
from trainables.data.concept import Concept, load_concepts
from trainables.errors import InvalidInput
from trainables.settings import (
    MINIATURE,
    RECIPE_VERSION,
    TRAIN_IMAGE,
    BaseModelSettings,
    FixedBatchSettings,
    QualitySettings,
)

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
    settings: dict[str, Any] = Field(default_factory=dict)
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
    fixed: dict[str, dict[str, Any]] = Field(default_factory=dict)
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

    def public(self) -> dict[str, Any]:
        """Return every value as plain JSON, to be shown and logged: without the password of a database."""
        values = self.model_dump(mode="json")
        if values["study"]["storage"]:
            values["study"]["storage"] = without_password(values["study"]["storage"])
        return values

    def load_concepts(self) -> list[Concept]:
        """Read the concepts that the experiment names, sorted by name.

        Raises:
            InvalidInput: a concept is unusable or not there.
        """
        only = self.concepts.only
        if self.concepts.source == MINIATURE:
            from trainables.miniature import concepts as toys

            names = tuple(toys.ENTRIES) if only == [ALL] else only
            return toys.load(toys.FEW if names is None else _checked(names, tuple(toys.ENTRIES)))
        concepts = load_concepts(Path(self.concepts.source).expanduser())
        return concepts if only is None else _pick(concepts, only)

    def split(self, concepts: Sequence[Concept]) -> "Split":
        """Divide concepts into those that tune and those that test; see `ConceptSettings.tuning`.

        A count is filled in an order that depends on names and seed alone, so that a further concept moves none.
        A single concept serves both.

        Raises:
            InvalidInput: a name is unknown, or too few concepts are left.
        """
        wanted = self.concepts.tuning
        own = self._meant_for_tuning(concepts) if wanted is None else []
        if isinstance(wanted, list):
            tuning = _pick(concepts, wanted)
        elif own:
            tuning = own
        else:
            count = min(4, max(1, len(concepts) // 2)) if wanted is None else wanted
            if not 1 <= count <= len(concepts):
                raise InvalidInput(f"concepts.tuning must lie between 1 and {len(concepts)} concepts, got {count}")
            order = tuning_order([concept.name for concept in concepts], self.seed)
            tuning = [concept for concept in concepts if concept.name in order[:count]]
        test = [concept for concept in concepts if concept not in tuning]
        return Split(tuple(tuning), tuple(test or tuning))

    def _meant_for_tuning(self, concepts: Sequence[Concept]) -> list[Concept]:
        """Return the concepts that the miniature sets aside for tuning, if others are left for the test."""
        if self.concepts.source != MINIATURE:
            return []
        from trainables.miniature.concepts import TUNING

        tuning = [concept for concept in concepts if concept.name in TUNING]
        return tuning if len(tuning) < len(concepts) else []

    def identity(self, concept: Concept, fingerprint: str) -> dict[str, Any]:
        """Return what determines a full-length run of a concept, as plain JSON; see `recordings.identity.RunIdentity`.

        Args:
            concept: what is learned.
            fingerprint: of the base model's files.
        """
        from orchestrator import plugins

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


@dataclass(frozen=True)
class Split:
    """The concepts on which a setting is chosen, and those on which it is proved."""

    tuning: tuple[Concept, ...]
    test: tuple[Concept, ...]

    @property
    def all(self) -> tuple[Concept, ...]:
        """Every concept once, by name."""
        return tuple(sorted(dict.fromkeys(self.tuning + self.test), key=lambda concept: concept.name))

    @property
    def is_shared(self) -> bool:
        """Whether the same concepts tune and test, so that the test proves nothing new."""
        return self.tuning == self.test


def tuning_order(names: Sequence[str], seed: int) -> list[str]:
    """Return names in an order that depends on them and the seed alone, so that a further concept moves none."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())


def _pick(concepts: Sequence[Concept], names: Sequence[str]) -> list[Concept]:
    by_name = {concept.name: concept for concept in concepts}
    return [by_name[name] for name in _checked(names, tuple(by_name))]


def _checked(names: Sequence[str], choices: Sequence[str]) -> list[str]:
    """Return the names sorted and once each, or raise InvalidInput where one is no choice, or there is none."""
    for name in names:
        if name not in choices:
            raise InvalidInput(f"unknown concept {name!r}; {_suggest(name, choices)}")
    if not names:
        raise InvalidInput(f"no concept is named; available: {', '.join(choices)}")
    return sorted(set(names))


def _suggest(name: str, choices: Sequence[str]) -> str:
    near = get_close_matches(name, list(choices), n=1)
    return f"did you mean {near[0]!r}?" if near else f"available: {', '.join(choices)}"


def build(preset: str | None, file: Path | None, overrides: Sequence[tuple[str, Any]]) -> Experiment:
    """Make an experiment: a preset's values for the method, over them a YAML file's, over them single values.

    Settings and recipe that were given for another method than the last one named are left out.

    Args:
        preset: a preset's name; None takes the file's `preset`, else "miniature".
        file: YAML with any of the experiment's keys, nested as they are.
        overrides: pairs of a dotted key ("quality.every") and a value.

    Raises:
        InvalidInput: a file, key or value is not understood; the message names it.
    """
    from orchestrator import plugins
    from orchestrator.config import presets

    values = _read(file) if file else {}
    layers = [values, *(_nested(key, value) for key, value in overrides)]
    chosen = [_method(layer) for layer in layers]
    method = next((one["name"] for one in reversed(chosen) if "name" in one), TEXTUAL_INVERSION)
    meant = _for_method(layers, str(method))
    recipe = next((one["recipe"] for one in reversed([_method(layer) for layer in meant]) if "recipe" in one), None)
    named = next((layer["preset"] for layer in reversed(layers) if layer.get("preset")), MINIATURE)
    name = preset or str(named)
    try:
        merged = presets.load(name, str(method), recipe).model_dump()
        for layer in meant:
            _merge(merged, layer)
        merged["preset"] = name
        made = Experiment.model_validate(merged)
    except ValidationError as error:
        raise InvalidInput(_explain(error, file)) from error
    plugins.METHODS.spec(made.method.name)
    return made


def _read(file: Path) -> dict[str, Any]:
    try:
        values = plain_yaml.load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"experiment file {file} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise InvalidInput(f"experiment file {file} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise InvalidInput(f"experiment file {file} must hold keys such as 'budget: 300', got {values!r}")
    return values


def _nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    assert isinstance(value, dict)
    return value


def _method(layer: Mapping[str, Any]) -> Mapping[str, Any]:
    method = layer.get("method")
    return method if isinstance(method, Mapping) else {}


def _for_method(layers: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return the layers without what a later one replaces: another method's settings, and those under a new recipe."""
    meant: list[dict[str, Any]] = []
    named = TEXTUAL_INVERSION
    for layer in layers:
        named = _method(layer).get("name", named)
        if named != name:
            layer = {key: value for key, value in layer.items() if key != "method"}
        if _method(layer).get("recipe"):
            meant = [_without_settings(earlier) for earlier in meant]
        meant.append(layer)
    return meant


def _without_settings(layer: dict[str, Any]) -> dict[str, Any]:
    return layer | {"method": {key: value for key, value in _method(layer).items() if key != "settings"}}


def _merge(target: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = value


def _explain(error: ValidationError, file: Path | None) -> str:
    lines = [_explain_one(item) for item in error.errors()]
    return "\n".join([f"the experiment{f' in {file}' if file else ''} is not understood:", *lines])


def _explain_one(item: Any) -> str:
    path = [str(part) for part in item["loc"]]
    key = ".".join(path)
    if item["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"  unknown key {key!r}; {_suggest(path[-1], _keys_at(path[:-1]))}"
    reason = str(item.get("ctx", {}).get("error", item["msg"]))
    return f"  {key or 'experiment'}: {reason}, got {item['input']!r}"


def _keys_at(path: Sequence[str]) -> list[str]:
    values: Any = Experiment().model_dump()
    for part in path:
        values = values.get(part, {}) if isinstance(values, dict) else {}
    return list(values) if isinstance(values, dict) else []
