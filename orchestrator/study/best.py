"""best.yaml: a study's best setting, and what it was tuned on."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from orchestrator import criteria
from orchestrator.config.explain import explain
from orchestrator.config.fields import MAX_STEPS, Text
from orchestrator.criteria import Criterion
from orchestrator.storage.atomic import write_atomically
from orchestrator.study.result import StudyResult
from trainables import plain_yaml
from trainables.errors import InvalidInput
from trainables.text import composed

FORMAT = 1


class Best(BaseModel):
    """What best.yaml holds; the names of its fields are those in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    format: int = FORMAT
    criterion: Text
    params: dict[str, bool | int | float | str | None]
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
    """Whether at least `quality_kept_wanted` is kept."""
    trials: int = Field(ge=1)

    @field_validator("tuned_on")
    @classmethod
    def _compose(cls, names: list[str]) -> list[str]:
        return [composed(name) for name in names]

    def make_criterion(self) -> Criterion:
        """Return the criterion with its setting.

        Raises:
            InvalidInput: the criterion is unknown, or refuses the setting.
        """
        return criteria.load(self.criterion, **self.params)


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
    )


def write(best: Best, path: Path) -> None:
    """Write the file atomically: a reader sees either the old one or the new one.

    Raises:
        InvalidInput: it cannot be written there.
    """
    text = "# Written by `dvar tune`; `dvar run` and `dvar compare` read it.\n"
    text += plain_yaml.dump(best.model_dump())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written ({error}); give another place with --best") from error


def read(path: Path) -> Best:
    """Read a best.yaml.

    Raises:
        InvalidInput: it is missing, damaged, of another format, or holds a setting that the criterion refuses.
    """
    try:
        values = plain_yaml.read(path)
    except FileNotFoundError as error:
        raise InvalidInput(f"{path} does not exist; make it with `dvar tune`, or name another with --best") from error
    except InvalidInput as error:
        raise InvalidInput(f"{path} cannot be read ({error}); write it anew with `dvar tune`") from error
    if not isinstance(values, Mapping):
        raise InvalidInput(f"{path} holds no settings; write it anew with `dvar tune`")
    try:
        best = Best.model_validate(values)
        best.make_criterion()
    except (ValidationError, InvalidInput) as error:
        raise InvalidInput(
            f"{path} is not understood: {_first_problem(error)}; write it anew with `dvar tune`"
        ) from error
    if best.format != FORMAT:
        raise InvalidInput(f"{path} has format {best.format}, but this version of the program reads {FORMAT}")
    return best


def _first_problem(error: ValidationError | InvalidInput) -> str:
    if isinstance(error, InvalidInput):
        return str(error)
    return explain(error, lambda path: [] if path else list(Best.model_fields))[0]
