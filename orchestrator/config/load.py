"""Makes an experiment from its layers: a preset, a YAML file, and single values."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from orchestrator import plugins
from orchestrator.config import presets
from orchestrator.config.experiment import TEXTUAL_INVERSION, Experiment
from orchestrator.config.explain import explain
from trainables import plain_yaml
from trainables.errors import InvalidInput
from trainables.settings import MINIATURE, HeldOutSettings, StratifiedBatchSettings
from trainables.text import quoted
from trainables.types import JsonDict, JsonObject


def build(preset: str | None, file: Path | None, overrides: Sequence[tuple[str, Any]]) -> Experiment:
    """Make an experiment from a preset's values for the method, overridden by a YAML file, overridden by single values.

    Of the settings and recipes that the layers give, only those for the method that is named last apply.

    Args:
        preset: a preset's name; None takes the file's `preset`, else "miniature".
        file: YAML with any of the experiment's keys, nested as in the experiment; None if there is no file.
        overrides: pairs of a dotted key ("quality.every") and a value; later pairs win.

    Raises:
        InvalidInput: a file, key or value is not understood; the message names it.
    """
    values = _read(file) if file else {}
    layers = [values, *(_nested(key, value) for key, value in overrides)]
    methods = [_method(layer) for layer in layers]
    method = next((chosen["name"] for chosen in reversed(methods) if "name" in chosen), TEXTUAL_INVERSION)
    meant = _for_method(layers, str(method))
    methods = [_method(layer) for layer in meant]
    recipe = next((chosen["recipe"] for chosen in reversed(methods) if "recipe" in chosen), None)
    named = next((layer["preset"] for layer in reversed(layers) if layer.get("preset")), MINIATURE)
    name = preset or str(named)
    try:
        merged = presets.load(name, str(method), recipe).model_dump()
        for layer in meant:
            _merge(merged, layer)
        merged["preset"] = name
        experiment = Experiment.model_validate(merged)
    except ValidationError as error:
        raise InvalidInput(_explain(error, file)) from error
    plugins.METHODS.spec(experiment.method.name)
    return experiment


def _read(file: Path) -> JsonDict:
    try:
        values = plain_yaml.read(file, is_stream=True)
    except FileNotFoundError as error:
        raise InvalidInput(f"there is no experiment file {file}; `dvar show` prints one") from error
    except InvalidInput as error:
        raise InvalidInput(f"experiment file {file} is not understood: {error}") from error
    if not isinstance(values, dict):
        raise InvalidInput(f"experiment file {file} must hold keys such as 'budget: 300', got {quoted(values)}")
    return values


def _nested(key: str, value: Any) -> JsonDict:
    for part in reversed(key.split(".")):
        value = {part: value}
    assert isinstance(value, dict)
    return value


def _method(layer: JsonObject) -> JsonObject:
    method = layer.get("method")
    return method if isinstance(method, Mapping) else {}


def _for_method(layers: Sequence[JsonDict], name: str) -> list[JsonDict]:
    """Return the layers without what a later layer replaces: other methods, and settings before a new recipe."""
    meant: list[JsonDict] = []
    named = TEXTUAL_INVERSION
    for layer in layers:
        named = _method(layer).get("name", named)
        if named != name:
            layer = {key: value for key, value in layer.items() if key != "method"}
        if _method(layer).get("recipe"):
            meant = [_without_settings(earlier) for earlier in meant]
        meant.append(layer)
    return meant


def _without_settings(layer: JsonDict) -> JsonDict:
    return layer | {"method": {key: value for key, value in _method(layer).items() if key != "settings"}}


def _merge(target: JsonDict, changes: JsonObject) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = value


def _explain(error: ValidationError, file: Path | None) -> str:
    lines = [f"  {line}" for line in explain(error, _keys_at)]
    return "\n".join([f"the experiment{f' in {file}' if file else ''} is not understood:", *lines])


def _keys_at(path: Sequence[str]) -> list[str]:
    # What is null has keys, too.
    full = Experiment(stratified_batch=StratifiedBatchSettings(), held_out=HeldOutSettings(images=1))
    values: Any = full.model_dump()
    for part in path:
        values = values.get(part, {}) if isinstance(values, dict) else {}
    return list(values) if isinstance(values, dict) else []
