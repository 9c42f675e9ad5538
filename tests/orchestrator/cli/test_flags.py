"""Flags: which of several values for a key counts."""

import yaml
from typer.testing import CliRunner

from orchestrator.cli.app import app


def test_a_value_that_is_set_overrides_the_flag_and_the_last_one_counts():
    flags = ["--set", "budget=200", "--budget", "300", "--set", "budget=250"]
    assert yaml.safe_load(CliRunner().invoke(app, ["show", *flags]).output)["budget"] == 250
