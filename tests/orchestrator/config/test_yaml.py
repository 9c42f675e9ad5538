"""Numbers as people write them, and nothing but plain values."""

import math

import pytest
import yaml

from orchestrator.config import yaml as plain_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4), ("5E3", 5000.0), ("-2.5e+2", -250.0), ("1.", 1.0), (".5", 0.5), ("0.1", 0.1), ("7", 7),
        ("1e", "1e"), ("e4", "e4"), ("1e-4x", "1e-4x"), ("sks dog", "sks dog"), ("true", True), ("null", None),
        ("[1e-2, 2]", [0.01, 2]), ("{a: 1e-2}", {"a": 0.01}), ("'1e-4'", "1e-4"), (".inf", math.inf),
    ],
)  # fmt: skip
def test_numbers(text, value):
    loaded = plain_yaml.load(text)
    assert loaded == value
    assert type(loaded) is type(value)


def test_nothing_is_constructed():
    with pytest.raises(yaml.YAMLError):
        plain_yaml.load("!!python/object/apply:os.system ['true']")
