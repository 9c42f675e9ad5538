"""Numbers as people write them, and nothing but plain values."""

import math
import os
import tracemalloc

import pytest

from trainables import plain_yaml
from trainables.errors import InvalidInput


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
    with pytest.raises(InvalidInput):
        plain_yaml.load("!!python/object/apply:os.system ['true']")


def bomb(levels, width=9):
    """A few lines whose aliases stand for width ** levels values."""
    lines = ["a0: &a0 [1, 2, 3]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * width)}]" for i in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bomb(9), "too large once its aliases are expanded"),
        ("a: &a {b: 1}\n" + bomb(9).replace("[", "{<<: [").replace("]", "]}"), "too large once"),
        ("x: &x [" + "long " * 9000 + "]\ny: [" + "*x, " * 40 + "]", "too large once"),
        ("[" * 5000, "nested too deeply"),
        ("{a: " * 200 + "1" + "}" * 200, "nested too deeply"),
        ("- " * 300 + "x", "nested too deeply"),
        ("a0: &a0 [1]\n" + "\n".join(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 40)), "nested too deeply"),
        ("&a [*a]", "contains it"),
        ("&a {b: {c: *a}}", "contains it"),
        ("x: " + "y" * plain_yaml.MAX_CHARACTERS, "at most 100,000"),
        ("budget: " + "9" * 5000, "has 5000 digits"),
        ("budget: 0x" + "f" * 4000, "4002 digits"),
        ("budget: 1" + ":59" * 99, "298 digits"),
        ("budget: 3\nbudget: 4", "'budget' is given twice, again in line 2"),
        ("quality: {every: 5, samples: 1, every: 6}", "'every' is given twice"),
        ("- a: 1\n  'a': 2", "'a' is given twice, again in line 2"),
        ("when: 2026-99-99", "month"),
        ("x: !!int ''", "index"),
        ("x: !!bool maybe", "maybe"),
        ("x: !!timestamp soon", "attribute"),
        ("? [a]\n: 1", "unhashable"),
        ("a: 1\n--- \nb: 2", "another document"),
        ("x: '\x1b[31m'", "special characters"),
        ("*nobody", "undefined alias"),
        ("\ud800", "special characters"),
    ],
)
def test_what_is_too_much_or_no_yaml_is_refused_in_a_line(text, message):
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match=message) as caught:
            plain_yaml.load(text)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: &a {x: 1, y: 2}\nb: *a", {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 2}}),
        ("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}", {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}),
        ("base: &b {x: 1}\nx: {z: &a {<<: *b, x: 2}}\nc: {<<: *a, x: 3}", {
            "base": {"x": 1}, "x": {"z": {"x": 2}}, "c": {"x": 3}
        }),
        ("[" * 29 + "]" * 29, None),
        ("x: [" + "1, " * 20_000 + "]", None),
    ],
)  # fmt: skip
def test_aliases_and_large_documents_within_the_limits_are_read(text, value):
    loaded = plain_yaml.load(text)
    assert loaded == value or (value is None and loaded)


def test_what_is_no_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin").write_bytes("é".encode("latin-1"))
    (tmp_path / "large").write_bytes(b"#" * 500_000)
    (tmp_path / "loop").symlink_to("loop")
    for name in ("pipe", "folder", "latin", "large", "loop"):
        with pytest.raises(InvalidInput):
            plain_yaml.read(tmp_path / name)
    with pytest.raises(InvalidInput):
        plain_yaml.read(type(tmp_path)("/dev/zero"))
    with pytest.raises(FileNotFoundError):
        plain_yaml.read(tmp_path / "nothing")


@pytest.mark.parametrize("text", ["a\u202eb", "\x85", "x\x9b31m", "\u2028", "\ud800", "狗 é", "\x1b", "👨\u200d👩"])
def test_what_is_written_is_read_and_steers_no_terminal(text):
    written = plain_yaml.dump({"name": text, "again": [text]})
    assert plain_yaml.load(written) == {"name": text, "again": [text]}
    assert not set(written) & set("\u202e\x85\x9b\u2028\ud800\x1b")
