"""`dvar tune --from --rate-ratio`: a setting scaled to another learning rate."""

import pytest
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.criteria import DVAR, FewIterations
from orchestrator.study import best as best_file
from orchestrator.study.best import Best, Choice


@pytest.fixture
def source(tmp_path, monkeypatch):
    """The file of a fixed number of steps, beside which DVAR was chosen, for 400 steps."""
    monkeypatch.chdir(tmp_path)
    setting = Best(
        criterion="few_iterations",
        params={"steps": 100},
        tuned_on=["a"],
        method="svdiff",
        base_model="miniature",
        budget=400,
        measure="train_clip_image",
        quality_kept_wanted=0.9,
        quality_kept=0.93,
        iterations=100.0,
        is_feasible=True,
        trials=400,
        choices=[Choice(criterion="dvar", params={"window": 80, "threshold": 0.2, "stride": 5})],
    )
    best_file.write(setting, tmp_path / "old.yaml")
    return tmp_path / "old.yaml"


def invoke(*arguments):
    command = ["tune", "--method", "svdiff", "--from", "old.yaml", *arguments]
    return CliRunner().invoke(app, command, env={"COLUMNS": "200"})


@pytest.mark.parametrize(("ratio", "steps", "window"), [("0.25", 283, 226), ("1", 100, 80), ("4", 35, 28)])
def test_steps_and_windows_are_scaled_and_thresholds_are_not(source, ratio, steps, window):
    done = invoke("--rate-ratio", ratio, "--budget", "1200")
    assert done.exit_code == 0, done.output
    setting = best_file.read(source.with_name("dvar-runs") / "best-svdiff-1200.yaml")
    assert setting.make_criterion() == FewIterations(steps)
    assert setting.of_criterion("dvar") == DVAR(window=window, threshold=0.2, stride=5)
    assert (setting.budget, setting.rate_ratio) == (1200, float(ratio))
    assert setting.iterations == pytest.approx(100 * float(ratio) ** -0.75, abs=0.001)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rate-ratio", "0"], "a number above 0, got 0"),
        (["--rate-ratio", "nan"], "a number above 0, got nan"),
        (["--rate-ratio", "0.5", "--method", "p_plus"], "holds a setting for svdiff, and p_plus is to be trained"),
        (["--rate-ratio", "0.5", "--budget", "400", "--best", "old.yaml"], "would be replaced by its own scaled form"),
        (["--rate-ratio", "0.5", "--from", "nowhere.yaml"], "nowhere.yaml does not exist"),
        ([], "--from and --rate-ratio belong together"),
    ],
)
def test_what_cannot_be_scaled(source, arguments, message):
    done = invoke(*arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
