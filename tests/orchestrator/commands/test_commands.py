"""The commands as a user runs them: record, tune, run and compare on folders of photographs; MLflow afterwards."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
import yaml
from diffusers.utils import load_image
from PIL import Image, ImageColor, ImageDraw

from orchestrator.report.figures.landscape import CHOSEN

pytestmark = pytest.mark.process
PYTHON = [sys.executable]
BEST = "best-textual_inversion-40.yaml"


def dvar(folder, *arguments):
    command = [*PYTHON, "-c", "from orchestrator.cli.app import main; main()", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=os.environ.copy())
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(autouse=True)
def quick(prefork, mlflow_store, tmp_path, monkeypatch):
    """Commands, and their workers, begin with the libraries loaded and MLflow's store made; not those of `commands`."""
    mlflow_store(tmp_path / "dvar-runs")
    monkeypatch.setattr(sys.modules[__name__], "PYTHON", prefork.python)
    for name, value in prefork.job_environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def small(small_flags):
    """Flags of a run that takes seconds."""
    study = {"study__trials": 15, "study__objective": "mean", "study__criteria": "dvar", "study__l_det": "paper"}
    return ["--budget", "40", "--tuning", "1", *small_flags(**study)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three subjects with JPEG files of several sizes, one of them turned by its EXIF."""
    root = tmp_path_factory.mktemp("user")
    for index, subject in enumerate(("red_ball", "green box", "blue-cup2")):
        place = root / "photos" / subject
        place.mkdir(parents=True)
        for view, size in enumerate([(640, 480), (300, 500), (97, 101)]):
            image = Image.new("RGB", size, (200, 190, 180))
            box = (size[0] // 4, size[1] // 4, size[0] // 2 + 20 * index, size[1] // 2 + 10)
            ImageDraw.Draw(image).ellipse(box, fill=("red", "green", "blue")[index])
            exif = Image.Exif()
            exif[0x0112] = 6 if view == 1 else 1
            image.save(place / f"{view}.jpg", exif=exif)
    return root


@pytest.fixture(scope="module")
def commands(folder, small):
    """Run the four commands in order; return what each printed."""
    flags = ["--concepts", "photos", *small]
    printed = {}
    for name in ("record", "tune", "run", "compare"):
        code, printed[name] = dvar(folder, name, *flags)
        assert code == 0, printed[name]
    return printed


def test_record_reports_every_concept(commands):
    assert "3 of 3 concepts done" in commands["record"]


def test_recording_again_trains_nothing(commands, folder, small):
    code, printed = dvar(folder, "record", "--concepts", "photos", *small)
    assert code == 0
    assert "3 of 3 were already complete" in printed


def test_several_seeds(commands, folder, small):
    flags = ["--concepts", "photos", *small]
    code, printed = dvar(folder, "record", *flags, "--seeds", "0,1")
    assert code == 0
    assert "3 of 6 were already complete" in printed
    assert "6 of 6 runs done" in printed
    best = (folder / "dvar-runs" / BEST).read_text()
    code, printed = dvar(folder, "tune", *flags, "--seeds", "0,1", "--best", "two.yaml")
    assert code == 0
    assert "15 settings on 1 tuning concepts" in printed
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'dvar-runs' / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name != 'Default'")
    outcomes = client.search_runs([experiment.experiment_id], "tags.`dvar.kind` = 'outcome'")
    parents = [outcome.data.tags["mlflow.parentRunId"] for outcome in outcomes]
    assert parents.count(parents[0]) == 2  # the newest: one concept with two seeds
    code, printed = dvar(folder, "tune", *flags, "--seeds", "1,2")
    assert code == 2
    assert "seed 2 (missing)" in printed
    assert "seed 1 (missing)" not in printed
    assert (folder / "dvar-runs" / BEST).read_text() == best


def test_tune_writes_what_it_prints(commands, folder):
    best = yaml.safe_load((folder / "dvar-runs" / BEST).read_text())
    assert f"DVAR(window={best['params']['window']}, threshold={best['params']['threshold']})" in commands["tune"]
    assert len(best["tuned_on"]) == 1
    assert best["trials"] == 15
    for part in ("near", "default", "a single concept says nothing about others"):
        assert part in commands["tune"]
    picture = np.asarray(Image.open(folder / "dvar-runs" / "landscape-textual_inversion-40.png").convert("RGB"))
    star = ImageColor.getrgb(CHOSEN)  # nothing else in the picture has its colour
    assert (picture == star).all(axis=-1).sum() > 100


def test_run_leaves_the_tuning_concept_out_and_exports_adapters(commands, folder):
    best = yaml.safe_load((folder / "dvar-runs" / BEST).read_text())
    adapters = sorted(path.name for path in (folder / "dvar-runs" / "adapters").iterdir())
    assert len(adapters) == 2
    assert not any(name.startswith(best["tuned_on"][0].replace(" ", "-")) for name in adapters)
    for name in adapters:
        files = {path.name for path in (folder / "dvar-runs" / "adapters" / name).iterdir()}
        assert files == {"learned_embeds.safetensors", "samples.png", "SHA256SUMS"}
        assert load_image(str(folder / "dvar-runs" / "adapters" / name / "samples.png")).height == 64


def test_compare_shows_all_strategies_and_that_live_agrees(commands):
    for strategy in ("full budget", "DVAR, paper's setting", "DVAR, tuned", "DVAR, tuned, live"):
        assert strategy in commands["compare"]
    assert "live and replayed stop at the same step: 2 of 2 concepts" in commands["compare"]


def test_mlflow_has_a_parent_a_command_and_a_child_a_concept(commands, folder):
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'dvar-runs' / 'mlflow.db'}")
    (experiment,) = [
        experiment for experiment in client.search_experiments() if experiment.name == "miniature-textual-inversion"
    ]
    all_runs = client.search_runs([experiment.experiment_id], max_results=100)
    parents = {run.data.tags["dvar.kind"]: run for run in all_runs if "mlflow.parentRunId" not in run.data.tags}
    assert set(parents) == {"record", "tune", "run", "compare"}
    children = [run for run in all_runs if run.data.tags.get("mlflow.parentRunId") == parents["run"].info.run_id]
    assert len(children) == 2
    assert {run.info.status for run in all_runs} == {"FINISHED"}
    (outcome,) = [run for run in all_runs if run.data.tags.get("mlflow.parentRunId") == parents["tune"].info.run_id]
    assert outcome.data.metrics["quality_kept"] > 0
    for child in children:
        history = client.get_metric_history(child.info.run_id, "l_det")
        assert [point.step for point in history] == list(range(1, int(child.data.metrics["steps"]) + 1))
        assert child.data.tags["dvar.state"] in ("stopped", "complete")
        assert child.data.params["budget"] == "40"


def test_a_failed_concept_ends_with_1_and_leaves_the_others(folder, tmp_path, small, plugin_folder, monkeypatch):
    """One concept's vectors become NaN: its trial fails, the others complete."""
    shutil.copytree(folder / "photos", tmp_path / "photos")
    (tmp_path / "photos" / "blue-cup2").rename(tmp_path / "photos" / "robot")
    monkeypatch.setenv("PYTHONPATH", f"{plugin_folder}:{os.environ.get('PYTHONPATH', '')}")
    flags = ["--concepts", "photos", *small, "--budget", "8", "--method", "exploding_method:Exploding"]
    code, printed = dvar(tmp_path, "record", *flags)
    assert code == 1, printed
    assert "2 of 3 concepts done" in printed
    assert "failed robot after" in printed


@pytest.mark.parametrize(("placeholder", "vectors"), [("photo", 1), ("ph", 1), ("<Cup>", 4)])
def test_a_placeholder_that_would_be_misread_ends_with_2_before_anything_trains(
    folder, tmp_path, small, placeholder, vectors
):
    shutil.copytree(folder / "photos", tmp_path / "photos")
    (tmp_path / "photos" / "blue-cup2" / "concept.yaml").write_text(f"placeholder: {placeholder}")
    flags = ["--concepts", "photos", *small, "--set", f"method.settings.num_vectors={vectors}"]
    code, printed = dvar(tmp_path, "record", *flags)
    assert code == 2, printed
    assert f"placeholder '{placeholder}' of concept 'blue-cup2'" in printed
    assert "Traceback" not in printed
    assert not [*(tmp_path / "dvar-runs").glob("recordings/*-*")]


def test_a_line_per_concept_says_what_is_trained_and_what_is_not(folder, tmp_path, small):
    shutil.copytree(folder / "photos" / "red_ball", tmp_path / "my_ball_photos")
    (tmp_path / "my_ball_photos" / "notes").mkdir()
    (tmp_path / "my_ball_photos" / "manual.pdf").write_bytes(b"%PDF-1.7")
    shutil.move(tmp_path / "my_ball_photos" / "2.jpg", tmp_path / "my_ball_photos" / "IMG_2")
    flags = ["--concepts", "my_ball_photos", *small, "--budget", "5", "--window", "3", "--threshold", "0.1"]
    line = "my_ball_photos: 3 images, noun 'ball', <my-ball-photos>; not used: manual.pdf (PDF), notes/"
    code, printed = dvar(tmp_path, "run", *flags)
    assert code == 0, printed
    assert printed.index(line) < printed.index("1 of 1 concepts done")


def test_a_preview_beside_concept_folders_ends_with_2(folder, tmp_path, small):
    shutil.copytree(folder / "photos", tmp_path / "photos")
    shutil.copy(folder / "photos" / "red_ball" / "0.jpg", tmp_path / "photos" / "preview")
    code, printed = dvar(tmp_path, "record", "--concepts", "photos", *small)
    assert code == 2, printed
    assert "holds images (preview) as well as folders of images (blue-cup2, green box, red_ball)" in printed


def test_a_method_in_the_current_folder_is_recorded(folder, tmp_path, small):
    """The file of the methods' README, as its text says; a changed file is another recording."""
    text = (Path(__file__).parents[3] / "trainables" / "methods" / "README.md").read_text()
    (source,) = (block for block in re.findall(r"```python\n(.*?)```", text, flags=re.S) if "\nclass " in block)
    flags = ["--concepts", str(folder / "photos" / "red_ball"), *small, "--budget", "5", "--method"]
    for rate in ("1e-2", "1e-3"):
        (tmp_path / "my_methods.py").write_text(source.replace("1e-2", rate))
        code, printed = dvar(tmp_path, "record", *flags, "my_methods:NormTuning", "--recipe", "fast")
        assert code == 0, printed
        assert "1 of 1 concepts done" in printed
        assert "already" not in printed


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--method", "nosuch"], "unknown method 'nosuch'"),
        (["--method", "nowhere:Method"], "no module 'nowhere'"),
        (["--recipe", "papers"], "TextualInversion has no recipe 'papers'; did you mean 'paper'"),
        (["--set", "method.settings.batch_size=two"], "batch_size must be a whole number, got 'two'"),
        (["--set", "method.settings.learning_rate=1e-4", "--set", "method.settings.prior=true"], "prior must be its"),
    ],
)
def test_wrong_methods_and_settings_end_with_2(folder, tmp_path, small, flags, message):
    code, printed = dvar(tmp_path, "record", "--concepts", str(folder / "photos"), *small, *flags)
    assert code == 2, printed
    assert message in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize("content", [b"text", b""])
def test_an_unusable_image_ends_with_2_before_anything_trains(folder, tmp_path, content, small):
    (tmp_path / "photos" / "dog").mkdir(parents=True)
    (tmp_path / "photos" / "dog" / "a.png").write_bytes(content)
    code, printed = dvar(tmp_path, "record", "--concepts", "photos", *small)
    assert code == 2
    assert "a.png" in printed
    assert not (tmp_path / "dvar-runs" / "recordings").exists()


def test_an_mlflow_address_that_does_not_answer_is_a_warning(folder, tmp_path, monkeypatch, small):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    code, printed = dvar(tmp_path, "record", "--concepts", str(folder / "photos" / "red_ball"), *small, "--budget", "5")
    assert code == 0, printed
    assert "warning: MLflow at http://me:***@127.0.0.1:9 does not answer" in printed
    assert "1 of 1 concepts done" in printed
    assert "secret" not in printed


def test_concepts_are_listed_and_written(tmp_path):
    code, printed = dvar(tmp_path, "concepts")
    assert code == 0
    assert printed.count(" test") == 48
    assert printed.count(" tuning") == 8
    code, printed = dvar(tmp_path, "concepts", "--write", "toys", "--only", "mug_1,car_1", "--size", "32")
    assert code == 0
    assert sorted(path.name for path in (tmp_path / "toys").iterdir()) == ["car_1", "mug_1"]
    assert Image.open(tmp_path / "toys" / "mug_1" / "00.png").size == (32, 32)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--only", "mug_9"], "no concept 'mug_9'"),
        (["--write", "toys", "--size", "4"], "between 16 and 1024 pixels, got 4"),
    ],
)
def test_impossible_concepts_end_with_2(tmp_path, flags, message):
    code, printed = dvar(tmp_path, "concepts", *flags)
    assert code == 2
    assert message in " ".join(printed.split())


def test_a_cheaper_l_det_is_tuned_and_run(commands, folder, small):
    fixed = {"stride": 2, "inputs": 2, "relative": "true"}
    flags = [flag for key, value in fixed.items() for flag in ("--set", f"study.fixed.dvar.{key}={value}")]
    flags += ["--concepts", "photos", *small, "--best", "cheaper.yaml"]
    code, printed = dvar(folder, "tune", *flags)
    assert code == 0, printed
    assert "landscape" not in printed
    params = yaml.safe_load((folder / "cheaper.yaml").read_text())["params"]
    assert params.items() >= {"stride": 2, "inputs": 2, "relative": True}.items()
    code, printed = dvar(folder, "run", *flags)
    assert code == 0, printed
    assert "stride=2, inputs=2, relative=True) on 2 concepts" in printed
    code, printed = dvar(folder, "compare", *flags)
    assert code == 0, printed
    assert "live and replayed stop at the same step: 2 of 2 concepts" in printed
    code, printed = dvar(folder, "run", *flags, "--set", "fixed_batch.size=1")
    assert code == 2
    assert "evaluates 2 inputs at a time, but fixed_batch.size is 1" in " ".join(printed.split())


def test_what_is_promised_by_default_and_each_choice_of_it(commands, folder, small):
    """One concept carries a risk of a half; the fixed number is taken, and DVAR's choice can be run instead."""
    default = {"objective": "reliable", "criteria": "few_iterations,dvar", "l_det": "stratified"}
    flags = ["--concepts", "photos", *small, "--best", "reliable.yaml"]
    flags += [flag for key, value in default.items() for flag in ("--set", f"study.{key}={value}")]
    code, printed = dvar(folder, "tune", *flags)
    assert code == 0, printed
    best = yaml.safe_load((folder / "reliable.yaml").read_text())
    assert (best["criterion"], best["objective"], best["risk"]) == ("few_iterations", "reliable", 0.5)
    assert [choice["criterion"] for choice in best["choices"]] == ["dvar", "steps_per_image"]
    assert best["choices"][0]["params"].items() >= {"inputs": 2, "relative": True, "batch": "stratified"}.items()
    code, printed = dvar(folder, "run", *flags, "--criterion", "dvar")
    assert code == 0, printed
    assert "batch='stratified') on 2 concepts" in printed
    code, printed = dvar(folder, "compare", *flags)
    assert code == 0, printed
    for strategy in ("fixed number, tuned", "StepsPerImage, tuned", "DVAR, tuned", "DVAR, tuned, live"):
        assert strategy in printed
    assert "live and replayed stop at the same step: 2 of 2 concepts" in printed


def test_a_live_search(commands, folder, small):
    flags = ["--concepts", "photos", *small, "--live", "--best", "live.yaml"]
    code, printed = dvar(folder, "tune", *flags, "--set", "study.trials=1")
    assert code == 0, printed
    assert "1 of 1 were already complete and were not recorded again" in printed
    assert "live and replayed stop at the same step: 1 of 1 concepts" in printed
    assert "near" not in printed
    assert yaml.safe_load((folder / "live.yaml").read_text())["trials"] == 1
    code, printed = dvar(folder, "tune", *flags, "--recordings", "builtin")
    assert code == 2
    assert "--live trains, and replays no recordings of 'builtin'" in printed
