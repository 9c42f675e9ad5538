"""`dvar benchmark`: its tables, its CSV, and what it refuses."""

import csv
import dataclasses

import pytest
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.recordings.pack import write_pack


@pytest.fixture
def pack(make_recording, tmp_path, monkeypatch):
    """Six recordings of each of two methods, in x.parquet of the working directory."""
    monkeypatch.chdir(tmp_path)
    recordings = []
    for method, budget in (("svdiff", 200), ("p_plus", 100)):
        for i, rate in enumerate((10, 14, 18, 40, 12, 30)):
            recording = make_recording(f"c{i}", budget, rate=rate, seed=i)
            identity = recording.identity.with_fields(method={"name": method})
            facts = dict(recording.facts) | {"usual": {"budget": budget, "window": 40, "threshold": 0.2}}
            recordings.append(dataclasses.replace(recording, identity=identity, facts=facts))
    write_pack(recordings, tmp_path / "x.parquet", compact=True)


COMMAND = ["benchmark", "--recordings", "x.parquet", "--trials", "8", "--tuning", "3", "--csv", "out.csv"]


def invoke(*arguments):
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80"})


def test_tables_and_csv(pack, tmp_path):
    done = invoke(*COMMAND, "--criteria", "dvar,few_iterations")
    assert done.exit_code == 0, done.output
    assert "svdiff: 3 concepts tune, 3 test" in done.output
    assert max(len(line) for line in done.output.splitlines() if "DVAR(" in line) <= 80
    assert "tuned on" in done.output
    assert "nothing about Stable Diffusion" not in done.output
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert len(rows) == 2 * (5 + 3)
    assert {row["setting"] for row in rows} == {"full", "usual", "mean", "most", "tuned"}
    assert {float(row["test_iterations"]) for row in rows if row["setting"] == "full"} == {200, 100}
    budgets = {"svdiff": 200, "p_plus": 100}
    for row in rows:
        share = float(row["test_iterations"]) / budgets[row["method"]]
        assert 0 <= float(row["below"]) <= 1
        assert 0 < share <= 1
        assert float(row["test_share"]) == pytest.approx(share)


def test_a_csv_that_cannot_be_written_is_named(pack):
    done = invoke(*COMMAND[:-1], "/nowhere/x.csv")
    assert done.exit_code == 2
    assert "/nowhere/x.csv cannot be written" in " ".join(done.output.split())


def test_a_method_that_is_not_recorded_is_named(pack):
    done = invoke(*COMMAND, "--methods", "dreambuth")
    assert done.exit_code == 2
    assert "has no recording of the method 'dreambuth'" in " ".join(done.output.split())
