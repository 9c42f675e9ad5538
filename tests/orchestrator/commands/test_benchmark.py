"""`dvar benchmark`: its tables, its CSV, and what it refuses."""

import csv
import dataclasses

import pytest
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.recordings.pack import write_pack


@pytest.fixture
def pack(make_recording, tmp_path, monkeypatch):
    """Eight recordings of each of two methods, in x.parquet of the working directory."""
    monkeypatch.chdir(tmp_path)
    recordings = []
    for method, budget in (("svdiff", 200), ("p_plus", 100)):
        for i, rate in enumerate((10, 14, 18, 40, 12, 30, 20, 25)):
            recording = make_recording(f"c{i}", budget, rate=rate, seed=i)
            identity = recording.identity.with_fields(method={"name": method})
            facts = dict(recording.facts) | {"usual": {"budget": budget, "window": 40, "threshold": 0.2}}
            recordings.append(dataclasses.replace(recording, identity=identity, facts=facts))
    write_pack(recordings, tmp_path / "x.parquet", compact=True)


COMMAND = ["benchmark", "--recordings", "x.parquet", "--tuning", "3", "--csv", "out.csv"]


def invoke(*arguments):
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80"})


def test_tables_and_csv(pack, tmp_path):
    done = invoke(*COMMAND, "--criteria", "dvar,few_iterations")
    assert done.exit_code == 0, done.output
    tables = [line for line in done.output.splitlines() if line.startswith((" dvar", " fixed", " oracle"))]
    assert len(tables) >= 9
    assert max(map(len, tables)) <= 80
    assert "nothing about Stable Diffusion" not in done.output
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    rules = ["full budget", "oracle", "fixed number", "dvar", "dvar, as in the paper", "recommended"]
    assert [row["rule"] for row in rows] == 2 * rules
    assert {float(row["steps"]) for row in rows if row["rule"] == "full budget"} == {200, 100}
    budgets = {"svdiff": 200, "p_plus": 100}
    for row in rows:
        share = float(row["steps"]) / budgets[row["method"]]
        assert 0 <= float(row["below_low"]) <= float(row["below"]) <= float(row["below_high"]) <= 1
        assert float(row["steps_share"]) == pytest.approx(share)
        assert (row["steps_ratio"] == "") == (row["rule"] in ("full budget", "fixed number"))
        assert row["criterion"].startswith("DVAR(") == row["rule"].startswith("dvar")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "dreambuth"], "has no recording of the method 'dreambuth'"),
        (["--tuning", "7"], "8 concepts are recorded, and 7 of them would tune"),
        (["--tuning", "c1,c2"], "--tuning is their number, got c1, c2"),
        (["--risk", "0.1"], "tune on at least 9 concepts"),
        (["--criteria", "dvr"], "dvr"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_remedy(pack, arguments, message):
    done = invoke(*COMMAND, *arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())


def test_a_csv_that_cannot_be_written_is_named(pack):
    done = invoke(*COMMAND[:-1], "/nowhere/x.csv")
    assert done.exit_code == 2
    assert "/nowhere/x.csv cannot be written" in " ".join(done.output.split())
