"""best.yaml: the best setting of a study, with the concepts, method and budget that it was tuned on."""

from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from orchestrator import criteria
from orchestrator.criteria import Criterion
from orchestrator.storage.atomic import write_atomically
from orchestrator.study.result import StudyResult
from trainables.errors import InvalidInput

FORMAT = 1


class Best(BaseModel):
    """The content of best.yaml: a criterion with its best setting, and the study that chose it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    format: int = FORMAT
    criterion: str
    params: dict[str, bool | int | float | str | None]
    tuned_on: list[str]
    """Names of the tuning concepts."""
    method: str
    base_model: str
    budget: int
    """Optimizer steps of the recordings."""
    measure: str
    quality_kept_wanted: float
    quality_kept: float
    iterations: float
    """Mean over the tuning concepts."""
    is_feasible: bool
    """Whether the quality wanted is kept."""
    trials: int

    def make_criterion(self) -> Criterion:
        """Return the criterion with its setting.

        Raises:
            InvalidInput: there is no such criterion, or it refuses the setting.
        """
        return criteria.load(self.criterion, **self.params)


def from_result(result: StudyResult, method: str, base_model: str) -> Best:
    """Return the content of best.yaml for the result of a study on a method and a base model."""
    return Best(
        criterion=result.name,
        params=dict(result.best.params),
        tuned_on=sorted({outcome.concept for outcome in result.best.outcomes}),
        method=method,
        base_model=base_model,
        budget=result.budget,
        measure=result.objective.measure,
        quality_kept_wanted=result.objective.quality_kept,
        quality_kept=round(result.best.quality_kept, 6),
        iterations=round(result.best.iterations, 3),
        is_feasible=result.best.is_feasible,
        trials=result.trials,
    )


def write(best: Best, path: Path) -> None:
    """Write the file atomically: a reader sees either the old file or the new file.

    Raises:
        InvalidInput: it cannot be written there.
    """
    text = "# Written by `dvar tune`; `dvar run` and `dvar compare` read it.\n"
    text += yaml.safe_dump(best.model_dump(), sort_keys=False, allow_unicode=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written ({error}); choose another file with --best") from error


def read(path: Path) -> Best:
    """Read and check the file.

    Raises:
        InvalidInput: it is missing, damaged, of another format, or holds a setting that the criterion refuses.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InvalidInput(f"{path} does not exist; make it with `dvar tune`, or name another with --best") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInput(f"{path} cannot be read ({error}); write it again with `dvar tune`") from error
    if not isinstance(values, Mapping):
        raise InvalidInput(f"{path} holds no settings; write it again with `dvar tune`")
    try:
        best = Best.model_validate(values)
        best.make_criterion()
    except (ValidationError, InvalidInput) as error:
        raise InvalidInput(f"{path} is not understood: {_first(error)}; write it again with `dvar tune`") from error
    if best.format != FORMAT:
        raise InvalidInput(f"{path} has format {best.format}, but this version of the program reads {FORMAT}")
    return best


def _first(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    item = error.errors()[0]
    return f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
