"""The file of a study's best setting, and of what it was tuned on: best-METHOD-BUDGET.yaml."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from orchestrator import criteria
from orchestrator.config.explain import explain
from orchestrator.config.fields import MAX_STEPS, Text
from orchestrator.criteria import Criterion
from orchestrator.storage.atomic import write_atomically
from orchestrator.study.result import StudyResult
from search_spaces.windows import stretched
from trainables import plain_yaml
from trainables.errors import InvalidInput
from trainables.text import composed

FORMAT = 1
#: The file of versions that kept a single setting per storage.
OLD_NAME = "best.yaml"
_HASH_LINE = "# sha256 of the lines below: "


class Choice(BaseModel):
    """A criterion and its setting."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    criterion: Text
    params: dict[str, bool | int | float | str | None]

    def make_criterion(self) -> Criterion:
        """Return the criterion with its setting.

        Raises:
            InvalidInput: the criterion is unknown, or refuses the setting.
        """
        return criteria.load(self.criterion, **self.params)


class Best(Choice):
    """What the file holds; the names of its fields are those in the file."""

    format: int = FORMAT
    tuned_on: list[Text]
    """Names of the tuning concepts."""
    method: str
    base_model: str
    budget: int = Field(ge=1, le=MAX_STEPS)
    """Optimizer steps of the recordings."""
    measure: Text
    quality_kept_wanted: float = Field(ge=0, le=1)
    quality_kept: float
    iterations: float = Field(ge=0)
    """Mean over the tuning concepts."""
    is_feasible: bool
    """Whether as much is kept as the objective demands."""
    trials: int = Field(ge=1)
    objective: Literal["reliable", "mean-lcb", "mean"] = "mean"
    """By which it was chosen; files of version 0.1 do not say it."""
    risk: float | None = Field(default=None, gt=0, lt=1)
    """Of "reliable", share of new concepts that may keep less."""
    rate_ratio: float | None = Field(default=None, gt=0)
    """Of a setting that was scaled from another learning rate, the new rate over the old."""
    choices: list[Choice] = []
    """What the same objective chose of the other criteria, on the same concepts."""

    @field_validator("tuned_on")
    @classmethod
    def _compose(cls, names: list[str]) -> list[str]:
        return [composed(name) for name in names]

    @property
    def never_stops(self) -> bool:
        """Whether no tuning run was stopped before its budget."""
        return self.iterations >= self.budget

    def of_criterion(self, name: str) -> Criterion:
        """Return a criterion with the setting that was chosen of it.

        Raises:
            InvalidInput: none was chosen of a criterion with this name, or it refuses the setting.
        """
        choices: dict[str, Choice] = {choice.criterion: choice for choice in (*self.choices, self)}
        if name not in choices:
            raise InvalidInput(
                f"no setting of {name!r} was chosen, only of {', '.join(choices)}; search it with "
                f"`dvar tune --criteria {name}`"
            )
        return choices[name].make_criterion()


def from_result(result: StudyResult, method: str, base_model: str) -> Best:
    """Describe a study's best setting.

    Args:
        result: of the study.
        method: personalization method of its recordings.
        base_model: id of their base model.
    """
    return Best(
        criterion=result.name,
        params=dict(result.best.params),
        tuned_on=sorted({outcome.concept for outcome in result.best.outcomes}),
        method=method,
        base_model=base_model,
        budget=result.budget,
        measure=result.objective.metric,
        quality_kept_wanted=result.objective.quality_kept,
        quality_kept=round(result.best.quality_kept, 6),
        iterations=round(result.best.iterations, 3),
        is_feasible=result.best.is_feasible,
        trials=result.trials,
        objective=result.objective.kind,
        risk=result.objective.risk_with(len(result.best.concepts)) if result.objective.is_reliable else None,
        choices=[
            Choice(criterion=other.name, params=dict(other.params))
            for other in (*result.best_of_each()[1:], *result.references)
        ],
    )


def scaled_to_rate(best: Best, ratio: float, factor: float, budget: int) -> Best:
    """Return a setting for training at another learning rate.

    Args:
        best: the setting at the old rate.
        ratio: the new rate over the old.
        factor: by which the numbers of steps grow.
        budget: optimizer steps of the new training.
    """

    def scaled(choice: Choice) -> dict[str, bool | int | float | str | None]:
        return stretched(choice.params, factor, budget)

    return best.model_copy(
        update={
            "params": scaled(best),
            "choices": [Choice(criterion=choice.criterion, params=scaled(choice)) for choice in best.choices],
            "budget": budget,
            "iterations": round(min(budget, best.iterations * factor), 3),
            "rate_ratio": ratio,
        }
    )


def file_name(method: str, budget: int) -> str:
    """Return the name of the file with the best setting for a method and a budget.

    Example:
        >>> file_name("svdiff", 300), file_name("my_methods:NormTuning", 40)
        ('best-svdiff-300.yaml', 'best-my_methods-NormTuning-40.yaml')
    """
    safe = re.sub(r"[^\w.-]", "-", method)
    return f"best-{safe}-{budget}.yaml"


def find(folder: Path, method: str, budget: int) -> Path:
    """Return the file with the best setting for a method and a budget.

    It is that of `file_name`, or an older version's best.yaml if its setting was tuned for the same.

    Raises:
        InvalidInput: there is neither, or best.yaml is not understood.
    """
    path, old = folder / file_name(method, budget), folder / OLD_NAME
    if path.exists():
        return path
    if old.exists():
        setting = read(old)
        if (setting.method, setting.budget) == (method, budget):
            return old
    others = ", ".join(other.name for other in sorted(folder.glob("best*.yaml")))
    there = f" (there are {others}, of other methods or budgets)" if others else ""
    raise InvalidInput(f"{path} does not exist; make it with `dvar tune`, or name another with --best{there}")


def check_replaceable(path: Path, method: str, base_model: str, budget: int) -> None:
    """Check that a file may be written: that it is missing, or holds an earlier setting for the same.

    Raises:
        InvalidInput: it holds a setting for another method, base model or budget, or something else.
    """
    if not path.exists():
        return
    remedy = "move it away, or write to another file with --best"
    try:
        setting = read(path)
    except InvalidInput as error:
        raise InvalidInput(f"{path} would be replaced, but is no file of a best setting; {remedy}") from error
    if (setting.method, setting.base_model, setting.budget) != (method, base_model, budget):
        raise InvalidInput(
            f"{path} would be replaced, but holds the setting for {setting.method} on {setting.base_model} with "
            f"{setting.budget} steps; {remedy}"
        )


def beside(best: Path, name: str) -> Path:
    """Return where another file of the same study is: its name ends like that of the best setting.

    Example:
        >>> beside(Path("runs/best-svdiff-300.yaml"), "landscape.png").as_posix()
        'runs/landscape-svdiff-300.png'
        >>> beside(Path("mine.yaml"), "landscape.png").as_posix(), beside(Path("best.yaml"), "landscape.png").as_posix()
        ('landscape-mine.png', 'landscape.png')
    """
    ending = "" if best.name == OLD_NAME else f"-{best.stem.removeprefix('best-')}"
    return best.with_name(f"{Path(name).stem}{ending}{Path(name).suffix}")


def write(best: Best, path: Path) -> None:
    """Write the file atomically: a reader sees either the old one or the new one.

    Raises:
        InvalidInput: it cannot be written there.
    """
    body = plain_yaml.dump(best.model_dump())
    text = f"# Written by `dvar tune`; `dvar run` and `dvar compare` read it.\n{_HASH_LINE}{_hash(body)}\n{body}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written ({error}); give another place with --best") from error


def read(path: Path) -> Best:
    """Read the file of a best setting.

    Raises:
        InvalidInput: it is missing, damaged, of another format, or holds a setting that the criterion refuses.
    """
    try:
        text = plain_yaml.read_text(path)
        values = plain_yaml.load(text)
    except FileNotFoundError as error:
        raise InvalidInput(f"{path} does not exist; make it with `dvar tune`, or name another with --best") from error
    except InvalidInput as error:
        raise InvalidInput(f"{path} cannot be read ({error}); write it anew with `dvar tune`") from error
    _check_hash(path, text)
    if not isinstance(values, Mapping):
        raise InvalidInput(f"{path} holds no settings; write it anew with `dvar tune`")
    try:
        best = Best.model_validate(values)
        for choice in (best, *best.choices):
            choice.make_criterion()
    except (ValidationError, InvalidInput) as error:
        raise InvalidInput(
            f"{path} is not understood: {_first_problem(error)}; write it anew with `dvar tune`"
        ) from error
    if best.format != FORMAT:
        raise InvalidInput(f"{path} has format {best.format}, but this version of the program reads {FORMAT}")
    return best


def _check_hash(path: Path, text: str) -> None:
    """Check that the settings are those that were written, unless the file states no hash, as those of version 0.1."""
    _, line, rest = text.partition(f"\n{_HASH_LINE}")
    stated, _, body = rest.partition("\n")
    if line and stated != _hash(body):
        raise InvalidInput(
            f"{path} is damaged: its settings do not match the hash that it states; write it anew with `dvar tune`, or "
            "remove the line of the hash if you changed the settings yourself"
        )


def _hash(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def _first_problem(error: ValidationError | InvalidInput) -> str:
    if isinstance(error, InvalidInput):
        return str(error)
    return explain(error, lambda path: [] if path else list(Best.model_fields))[0]
