"""The start-up check, and the commands' speed and exit codes as a shell sees them."""

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from orchestrator import commands
from orchestrator.cli.startup import ForeignPackageError, check_packages

pytestmark = pytest.mark.process

DVAR = ["-c", "from orchestrator.cli.app import main; main()"]


def dvar(*arguments, cwd=None, python=(sys.executable,), **environment):
    import os

    return subprocess.run(
        [*python, *DVAR, *arguments], capture_output=True, text=True, check=False, cwd=cwd, env=os.environ | environment
    )


def test_our_own_packages_pass():
    check_packages()


def test_somebody_elses_package_is_refused(tmp_path, monkeypatch):
    for name in list(sys.modules):
        if name == "search_spaces" or name.startswith("search_spaces."):
            monkeypatch.delitem(sys.modules, name)
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "search_spaces" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ForeignPackageError, match=r"search_spaces.*is not dvar-tune's; install dvar-tune"):
        check_packages()
    monkeypatch.undo()
    sys.modules.pop("search_spaces", None)


@pytest.mark.parametrize("command", [[], ["record"], ["tune"], ["run"], ["compare"], ["demo"], ["show"]])
def test_help_imports_nothing_heavy(command):
    """In place of a timed test: none of the imports that take longer than the rest of the start."""
    code = (
        "import sys; from orchestrator.cli.app import app\n"
        f"try: app({[*command, '--help']!r})\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'ray', 'mlflow', 'optuna', 'pandas', 'numpy', 'PIL', 'yaml'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("heavy: []")
    assert "--help" in done.stdout


def test_modules_of_commands_import_neither_torch_nor_ray_nor_mlflow():
    names = [module.name for module in pkgutil.iter_modules(commands.__path__, "orchestrator.commands.")]
    assert {"orchestrator.commands.record", "orchestrator.commands.tune"} < set(names)
    assert loaded(f"import {', '.join(names)}", {"torch", "ray", "mlflow"}) == "set()"


@pytest.mark.parametrize(
    "command",
    [
        ["tune", "--recordings", "builtin", "--trials", "3"],
        ["benchmark", "--criteria", "dvar", "--methods", "svdiff"],
        ["recordings", "show", "robot_1", "builtin"],
    ],
    ids=lambda command: command[0],
)
def test_commands_that_only_replay_need_no_torch_and_no_ray(tmp_path, command):
    code = (
        "from orchestrator.cli.app import app\n"
        f"try: app({command!r})\n"
        "except SystemExit as end: assert not end.code, end.code"
    )
    assert loaded(code, {"torch", "ray"}, tmp_path) == "set()"


def loaded(code, packages, cwd=None):
    """Run code in a fresh process, and return which of the packages it has loaded, as a text."""
    code += f"\nimport sys; print({packages} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["record", "--preset", "sd51"], "unknown preset 'sd51'"),
        (["record", "--set", "budgt=3"], "did you mean 'budget'"),
        (["record", "--set", "budget"], "takes KEY=VALUE"),
        (["record", "--budget", "many"], "valid integer"),
        (["record", "--concepts", "nowhere"], "nowhere does not exist"),
        (["record", "--base-model", "./nowhere"], "base model folder ./nowhere does not exist"),
        (["record", "--method", "nope"], "unknown method 'nope'"),
        (["record", "--only", "nope"], "unknown concept 'nope'"),
        (["run", "--window", "10", "--threshold", "0"], "threshold must lie strictly between 0 and 1, got 0.0"),
        (["run", "--window", "10", "--threshold", "1"], "got 1.0"),
        (["run", "--window", "10", "--threshold", "nan"], "got nan"),
        (["run", "--window", "1", "--threshold", "0.5"], "window must be a whole number of at least 2 values, got 1"),
        (["run", "--window", "120", "--threshold", "0.5"], "window 120 is not shorter than the budget of 120 steps"),
        (["run", "--window", "120"], "give both --window and --threshold"),
        (["run", "--window", "9", "--threshold", "0.5", "--criterion", "hall"], "--criterion takes a setting from"),
        (["run"], "best-textual_inversion-120.yaml does not exist; make it with `dvar tune`"),
        (["tune"], "no complete recording of"),
        (["tune", "--keep", "1.5"], "study.quality_kept"),
        (["compare"], "best-textual_inversion-120.yaml does not exist"),
        (["show", "--set", "study.criteria=dvar,nope"], "unknown criterion 'nope'"),
        (["record", "--storage", "/proc/nowhere"], "/proc/nowhere"),
        (["nonsense"], "nonsense"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_why(tmp_path, prefork, mlflow_store, arguments, message):
    mlflow_store(tmp_path / "dvar-runs")
    done = dvar(*arguments, cwd=tmp_path, python=prefork.python)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stderr


def test_show_prints_yaml_that_holds_the_overrides(tmp_path):
    done = dvar(
        "show",
        "--preset",
        "sd15",
        "--set",
        "quality.every=50",
        "--seed",
        "3",
        "--max-concurrent",
        "5",
        "--gpus-per-trial",
        "0.5",
        cwd=tmp_path,
    )
    assert done.returncode == 0
    shown = yaml.safe_load(done.stdout)
    assert (shown["preset"], shown["quality"]["every"], shown["seed"]) == ("sd15", 50, 3)
    assert (shown["resources"]["max_concurrent"], shown["resources"]["gpus_per_trial"]) == (5, 0.5)
    assert not list(Path(tmp_path).iterdir())
