"""`dvar tune`: its files, pictures and metrics hold what was chosen."""

import dataclasses

import mlflow
import pytest
import yaml
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.commands import tune as tune_command
from orchestrator.recordings.pack import write_pack


def test_pictures_and_metrics_hold_what_best_yaml_holds(make_recording, tmp_path, monkeypatch):
    recordings = [make_recording(name, 200, rate=10 + 8 * i, seed=i) for i, name in enumerate("ab")]
    facts = {"usual": {"budget": 200, "window": 60, "threshold": 0.05}}  # not the best setting
    of_svdiff = [
        dataclasses.replace(recording, identity=recording.identity.with_fields(method={"name": "svdiff"}), facts=facts)
        for recording in recordings
    ]
    write_pack(of_svdiff, tmp_path / "x.parquet")
    monkeypatch.chdir(tmp_path)
    drawn = []
    for name in ("draw_landscape", "write_landscape_page"):
        monkeypatch.setattr(tune_command, name, lambda landscape, path, **marks: (path.touch(), drawn.append(marks)))
    flags = ["--recordings", "x.parquet", "--method", "svdiff", "--keep", "0.8", "--trials", "20"]
    done = CliRunner().invoke(app, ["tune", *flags])
    assert done.exit_code == 0, done.output
    best = yaml.safe_load((tmp_path / "dvar-runs" / "best-svdiff-200.yaml").read_text())
    assert best["params"] != {"window": 60, "threshold": 0.05}
    for marks in drawn:
        assert marks["target"] == 0.8
        assert marks["chosen"] == (best["params"]["window"], best["params"]["threshold"])
        assert marks["default"] == (60, 0.05)
    assert len(drawn) == 2
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/dvar-runs/mlflow.db")
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    (parent,) = client.search_runs(ids, "tags.`dvar.kind` = 'tune'")
    metrics = {name: best[name] for name in ("iterations", "quality_kept")} | best["params"]
    assert parent.data.metrics == pytest.approx({f"best_{name}": value for name, value in metrics.items()})
