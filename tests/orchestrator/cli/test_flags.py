"""Flags: which of several values for a key counts, and that a key reads alike however it is given."""

import os
import subprocess
import sys

import pytest
import yaml
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.cli.flags import BENCHMARK, SEARCH, SHARED


def test_a_value_that_is_set_overrides_the_flag_and_the_last_one_counts():
    flags = ["--set", "budget=200", "--budget", "300", "--set", "budget=250"]
    assert yaml.safe_load(CliRunner().invoke(app, ["show", *flags]).output)["budget"] == 250


def shown(*flags):
    done = CliRunner().invoke(app, ["show", *flags])
    assert done.exit_code == 0, done.output
    return yaml.safe_load(done.output)


@pytest.mark.parametrize(
    ("flag", "key", "text", "value"),
    [
        ("--only", "concepts.only", "robot_1, duck_1", ["robot_1", "duck_1"]),
        ("--only", "concepts.only", "robot_1", ["robot_1"]),
        ("--tuning", "concepts.tuning", "2", 2),
        ("--tuning", "concepts.tuning", "robot_2,duck_2", None),
        ("--seeds", "seeds", "0,1", [0, 1]),
        ("--seeds", "seeds", "3", [3]),
    ],
)
def test_a_flag_and_its_key_read_alike(flag, key, text, value):
    by_flag, by_key = (
        CliRunner().invoke(app, ["show", *given]).output for given in ([flag, text], ["--set", f"{key}={text}"])
    )
    assert by_flag == by_key
    if value is not None:
        *path, last = key.split(".")
        values = yaml.safe_load(by_key)
        assert (values[path[0]] if path else values)[last] == value


@pytest.mark.parametrize("text", ["007", "1e3", "yes", "2024-01-01", "null_1", "a b,c d"])
def test_names_that_yaml_takes_for_something_else(text, tmp_path):
    """The folder need not be there: names are compared when the concepts are read."""
    place = ["--concepts", str(tmp_path)]
    assert shown(*place, "--only", text)["concepts"]["only"] == text.split(",")
    assert shown(*place, "--set", f"concepts.only={text}")["concepts"]["only"] == text.split(",")


def test_l_det_is_chosen_for_a_search():
    assert SEARCH["l_det"].key == "study.l_det"
    assert "--l-det" in CliRunner().invoke(app, ["tune", "--help"], env={"COLUMNS": "200"}).output
    assert shown("--set", "study.l_det=paper")["study"]["l_det"] == "paper"
    assert shown()["study"]["l_det"] is None
    assert "l_det" in BENCHMARK


def test_a_key_still_takes_yaml():
    assert shown("--set", "concepts.only=[robot_1, duck_1]")["concepts"]["only"] == ["robot_1", "duck_1"]
    assert shown("--only", "robot_1", "--set", "concepts.only=null")["concepts"]["only"] is None
    assert shown("--set", "study.criteria=dvar,hall")["study"]["criteria"] == ["dvar", "hall"]
    lists = {flag.key for flag in {**SHARED, **SEARCH}.values() if flag.is_list}
    assert lists == {"concepts.only", "concepts.tuning", "seeds", "study.criteria"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("study.criteria=dvra", "unknown criterion 'dvra'"),
        ("study.criteria=clip_score,never", "'never' has no search space"),
        ("study.fixed.hall.window=3", "hall"),
        ("study.measure=train_clip_imag", "did you mean 'train_clip_image'"),
        ("study.storage=nonsense://me:s3cret@x", "'nonsense://me:***@x' is no address"),
        ("study.storage=postgresql://me:***@x/y", "lacks its password"),
        ("study.storage=study.db", "is no address"),
        ("concepts.only=robot_1,duk_1", "unknown concept 'duk_1'"),
        ("concepts.tuning=99", "concepts.tuning must lie between 1 and"),
        ("concepts.tuning=nobody", "unknown concept 'nobody'"),
        ("method.name=nowhere:Method", "there is no module 'nowhere'"),
    ],
)
def test_show_refuses_what_tune_refuses(given, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in ("show", "tune"):
        done = CliRunner().invoke(app, [command, "--set", given])
        assert (done.exit_code, message in " ".join(done.output.split())) == (2, True), done.output
    assert not list(tmp_path.iterdir())


def test_what_is_shown_of_an_address_with_a_password_is_said():
    done = CliRunner().invoke(app, ["show", "--set", "study.storage=postgresql://me:s3cret@host/x"])
    assert yaml.safe_load(done.stdout)["study"]["storage"] == "postgresql://me:***@host/x"
    assert "passwords are left out" in done.stderr


@pytest.mark.parametrize("flags", [["-h"], ["tune", "-h"], ["recordings", "-h"], ["recordings", "list", "-h"]])
def test_help_has_a_short_flag_everywhere(flags):
    done = CliRunner().invoke(app, flags)
    assert done.exit_code == 0
    assert done.output == CliRunner().invoke(app, [*flags[:-1], "--help"]).output


@pytest.mark.process
def test_python_m_is_the_command():
    from importlib.metadata import version

    def run(*arguments, **environment):
        command = [sys.executable, "-m", "orchestrator", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | environment).stdout

    assert run("--version") == f"dvar-tune {version('dvar-tune')}\n"
    narrow = run("tune", "-h", COLUMNS="40")
    assert "Usage: dvar tune" in narrow
    names = {name for flag in {**SHARED, **SEARCH}.values() for name in flag.option.param_decls}
    assert {name for name in names if name.partition("/")[0] not in narrow} == set()
