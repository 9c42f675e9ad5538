"""Caveats: results made with the miniature say so, on any command and for any images."""

import dataclasses
import io

import pytest
from rich.console import Console
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.commands.messages import say_caveats
from orchestrator.config.load import build
from orchestrator.recordings.pack import write_pack
from orchestrator.study import best as best_file
from trainables.settings import OF_THE_MINIATURE

CLIP, SOME = "the miniature's CLIP", OF_THE_MINIATURE.replace("All", "Some")


def said(*sources):
    console = Console(file=io.StringIO(), width=200)
    say_caveats(console, sources)
    return console.file.getvalue()


@pytest.mark.parametrize("source", ["miniature", "my-photographs", "/data/dogs"])
def test_whatever_the_images(source):
    assert said(build(None, None, [("concepts.source", source)])) == f"{OF_THE_MINIATURE}\n"


def test_of_other_models_only_what_the_miniature_scores():
    sd15 = build("sd15", None, [])
    assert said(sd15) == ""
    assert CLIP in said(build("sd15", None, [("quality.scorer", "miniature")]))
    assert CLIP in said(build(None, None, [("base_model.id", "/models/mine")]))


def test_recordings(make_recording):
    def on(base, scorer):
        recording = make_recording("a", 40)
        identity = recording.identity.with_fields(base_model={"id": base}, quality={"scorer": scorer})
        return dataclasses.replace(recording, identity=identity)

    toy, real, toy_scored = on("miniature", "miniature"), on("sd15", "clip"), on("sd15", "miniature")
    assert said(toy, toy) == f"{OF_THE_MINIATURE}\n"
    assert said(real) == ""
    assert said(toy, real) == f"{SOME}\n"
    assert CLIP in said(toy_scored)


@pytest.mark.parametrize("command", [["list"], ["show", "bear_1"]])
def test_lists_of_recordings_say_so_too(command):
    done = CliRunner().invoke(app, ["recordings", *command, "builtin"])
    assert done.exit_code == 0
    assert done.output.count(OF_THE_MINIATURE) == 1


def test_tune_says_so_once(make_recording, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recording = make_recording("a", 40)
    identity = recording.identity.with_fields(base_model={"id": "miniature"}, method={"name": "svdiff"})
    write_pack([dataclasses.replace(recording, identity=identity)], tmp_path / "x.parquet")
    flags = ["--recordings", "x.parquet", "--method", "svdiff", "--trials", "3"]
    done = CliRunner().invoke(app, ["tune", *flags])
    assert done.exit_code == 0, done.output
    assert done.output.count(OF_THE_MINIATURE) == 1
    path = tmp_path / "dvar-runs" / "best-svdiff-40.yaml"
    best_file.write(best_file.read(path).model_copy(update={"base_model": "another"}), path)
    best = path.read_text()
    done = CliRunner().invoke(app, ["tune", *flags])
    assert done.exit_code == 2
    assert "holds the setting for svdiff on another with 40 steps" in " ".join(done.output.split())
    assert path.read_text() == best
    page = (tmp_path / "dvar-runs" / "landscape-svdiff-40.html").read_text()
    assert '"command":"dvar run --method svdiff --budget 40"' in page
