"""`dvar tune`: its files, pictures and metrics hold what was chosen."""

import dataclasses
import re
from pathlib import Path

import mlflow
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from orchestrator import criteria
from orchestrator.cli.app import app
from orchestrator.commands import tune as tune_command
from orchestrator.recordings.pack import write_pack
from orchestrator.replay.quality import quality_curve, score_noise
from orchestrator.replay.replay import replay

METRIC = "train_clip_image"


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
    flags += ["--objective", "mean", "--criteria", "dvar", "--l-det", "paper"]
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


@pytest.fixture
def of_svdiff(make_recording, tmp_path, monkeypatch):
    """Write recordings of eight concepts into the folder in which the command runs."""
    monkeypatch.chdir(tmp_path)
    for name in ("draw_landscape", "write_landscape_page"):
        monkeypatch.setattr(tune_command, name, lambda landscape, path, **marks: path.touch())
    recordings = [make_recording(name, 200, rate=10 + 4 * i, seed=i) for i, name in enumerate("abcdefgh")]
    recordings = [
        dataclasses.replace(recording, identity=recording.identity.with_fields(method={"name": "svdiff"}))
        for recording in recordings
    ]
    write_pack(recordings, tmp_path / "x.parquet")
    return recordings


def tuned(*flags):
    done = CliRunner().invoke(app, ["tune", "--recordings", "x.parquet", "--method", "svdiff", *flags])
    assert done.exit_code == 0, done.output
    return done.output, yaml.safe_load(Path("dvar-runs/best-svdiff-200.yaml").read_text())


def test_all_choices_are_kept_and_each_keeps_the_promise(of_svdiff):
    _, best = tuned("--risk", "0.25")
    assert (best["objective"], best["risk"]) == ("reliable", 0.25)
    chosen = {choice["criterion"]: choice["params"] for choice in (best, *best["choices"])}
    assert {"few_iterations", "dvar"} <= set(chosen)
    for name, params in chosen.items():
        kept = [replay(criteria.load(name, **params), recording).quality_kept for recording in of_svdiff]
        assert sum(share < 0.9 - 1e-9 for share in kept) <= 1
    steps = chosen["few_iterations"]["steps"]
    earlier = [replay(criteria.load("few_iterations", steps=steps - 1), recording) for recording in of_svdiff]
    assert sum(outcome.quality_kept < 0.9 for outcome in earlier) == 2  # one step fewer breaks it


def test_the_noise_of_a_score_is_that_of_the_recordings(of_svdiff):
    printed, _ = tuned()
    shares = [score_noise(recording, METRIC).std / quality_curve(recording, METRIC).best for recording in of_svdiff]
    (shown,) = re.findall(rf"noise of a single score of {METRIC}: ([\d.]+) % of the best, mean over 8", printed)
    assert float(shown) == pytest.approx(100 * np.mean(shares), rel=0.01)


def test_the_plane_marks_no_setting_that_watches_another_form_of_l_det(of_svdiff, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        tune_command, "draw_landscape", lambda landscape, path, **marks: (path.touch(), drawn.append(marks))
    )
    _, best = tuned("--criteria", "dvar")
    assert best["params"]["stride"] == 5
    _, best = tuned("--criteria", "dvar", "--l-det", "paper")
    assert [marks["chosen"] for marks in drawn] == [None, (best["params"]["window"], best["params"]["threshold"])]


def test_a_promise_that_the_concepts_cannot_carry_ends_with_2(of_svdiff):
    flags = ["--recordings", "x.parquet", "--method", "svdiff", "--risk", "0.1"]
    done = CliRunner().invoke(app, ["tune", *flags])
    assert done.exit_code == 2
    assert "with 8 tuning concepts" in (printed := " ".join(done.output.split()))
    assert "tune on at least 9 concepts" in printed
