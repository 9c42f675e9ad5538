"""Types of settings: what is checked, and what is left alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from trainables.checks import check_plain, check_types
from trainables.errors import InvalidInput


@dataclass
class Settings:
    count: int = 1
    rate: float = 0.5
    is_on: bool = False
    name: str = "x"
    limit: float | None = None
    texts: Sequence[str] = ("a",)
    either: int | str = 1
    anything: Any = None
    table: Mapping[str, int] = field(default_factory=dict)


@pytest.mark.parametrize(
    "given",
    [{}, {"rate": 1}, {"limit": 3}, {"texts": ["a", "b"]}, {"either": "text"}, {"either": 2.5}, {"table": 3}],
)
def test_what_fits_or_is_of_another_kind_is_left_alone(given):
    check_types(Settings(**given))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"count": 1.5}, "of.count must be a whole number, got 1.5"),
        ({"count": True}, "of.count must be a whole number, got True"),
        ({"rate": "1e-4"}, "of.rate must be a number, got '1e-4'"),
        ({"is_on": 1}, "of.is_on must be true or false, got 1"),
        ({"name": None}, "of.name must be text, got None"),
        ({"limit": "none"}, "of.limit must be a number or null, got 'none'"),
        ({"rate": float("nan")}, "of.rate must be a finite number, got nan"),
        ({"rate": float("inf")}, "of.rate must be a finite number, got inf"),
        ({"limit": -float("inf")}, "of.limit must be a finite number or null, got -inf"),
        ({"rate": 10**400}, "of.rate must be a finite number"),
        ({"texts": "ab"}, "of.texts must be a list of texts, got 'ab'"),
        ({"texts": ["a", 1]}, "of.texts must be a list of texts"),
    ],
)
def test_what_does_not_fit_is_named(given, message):
    with pytest.raises(InvalidInput, match=message):
        check_types(Settings(**given), "of.")


@pytest.mark.parametrize("value", [{}, {"a": [1, 1.5, None, True, "é\U0001f600"]}, "x", [[[]]]])
def test_plain_values_pass(value):
    check_plain(value)


@pytest.mark.parametrize(
    "value", [{1: 2}, {"a": b"x"}, [float("nan")], {"\ud800": 1}, {"a": "x\udfff"}, [[[["\ud83d"]]]], {"a": {1}}]
)
def test_what_no_file_can_hold_is_refused(value):
    with pytest.raises(InvalidInput, match="must be texts"):
        check_plain(value)
