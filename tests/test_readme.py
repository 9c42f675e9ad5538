"""READMEs: links lead somewhere, named commands and keys exist, and what can run offline on a CPU runs.

A fence that cannot is preceded by a comment "not run: REASON"; the test skips it with that reason, so that `pytest -ra`
lists them.
"""

import copy
import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.main import get_command

from orchestrator import plugins
from orchestrator.cli.app import app
from orchestrator.config.load import build
from trainables.methods import MethodSpec
from trainables.methods.custom_diffusion import CustomDiffusion
from trainables.methods.p_plus import PPlus
from trainables.methods.svdiff import SVDiff
from trainables.training.training import Training

ROOT = Path(__file__).parent.parent
FOLDERS = ("orchestrator", "trainables", "search_spaces", "k8s", "tests")
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])
}
METHODS = "trainables/methods/README.md"
COMMANDS = get_command(app).commands
FENCE = re.compile(r"(?:<!-- not run[^:]*: (?P<reason>[^>]*?) -->\n)?```(?P<kind>\w+)\n(?P<code>.*?)```", re.S)


def fences():
    for name, text in PAGES.items():
        for fence in FENCE.finditer(text):
            if fence["kind"] in ("sh", "python"):
                line = text[: fence.start("code")].count("\n") + 1
                yield pytest.param(name, fence["kind"], fence["code"], fence["reason"], id=f"{name}:{line}")


@pytest.mark.process
@pytest.mark.parametrize(("name", "kind", "code", "reason"), list(fences()))
def test_what_the_readmes_show_runs(name, kind, code, reason, tmp_path):
    if reason:
        pytest.skip(reason)
    (tmp_path / "dvar").write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "from orchestrator.cli.app import main; main()" "$@"\n'
    )
    (tmp_path / "dvar").chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    environment = os.environ | {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    command = ["bash", "-euo", "pipefail", "-c", code] if kind == "sh" else [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_readme_is_short_and_most_fences_run():
    assert PAGES["README.md"].count("\n") <= 120
    reasons = [fence.values[3] for fence in fences()]
    assert sum(reason is None for reason in reasons) >= 6
    assert all(reason is None or len(reason) > 10 for reason in reasons)


@pytest.mark.parametrize("name", PAGES)
def test_links_and_paths_exist(name):
    folder = (ROOT / name).parent
    links = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", PAGES[name])
    missing = [link for link in links if not (folder / link).exists()]
    paths = re.findall(r"`((?:tests|trainables|orchestrator|search_spaces|k8s|\.ci)/[\w./]+)`", PAGES[name])
    assert not missing + [path for path in paths if not (ROOT / path).exists() and "NAME" not in path]


def test_anchors_exist():
    for name, text in PAGES.items():
        for page, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", text):
            target = (ROOT / name).parent / page if page else ROOT / name
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), flags=re.M)
            anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, (name, page, anchor)


@pytest.mark.parametrize("name", PAGES)
def test_commands_and_flags_exist(name):
    commands = re.findall(r"^(?:`{0,1}|\| `)dvar ([a-z]+)([^`\n#>|]*)", PAGES[name], flags=re.M)
    if name == "README.md":
        assert {command for command, _ in commands} >= {"record", "tune", "run", "compare", "show"}
    for command, rest in commands:
        options = {option for parameter in COMMANDS[command].params for option in parameter.opts}
        assert set(re.findall(r"--[\w-]+", rest)) <= options, (command, rest)


def test_keys_given_to_set_exist():
    given = [pair for text in PAGES.values() for pair in re.findall(r"--set ([a-z][\w.]+)=(\w+)", text)]
    assert given
    for key, value in given:
        build(None, None, [(key, value)])


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    named = {target for text in PAGES.values() for target in re.findall(r"^make ([\w-]+)", text, flags=re.M)}
    assert named
    assert named <= targets


def snippets():
    """The README's ways to load what was learned, by method."""
    blocks = re.findall(r"```python\n(.*?)```", PAGES[METHODS], flags=re.S)
    (block,) = (text for text in blocks if "# textual_inversion" in text)
    parts = re.split(r"^# (\w+)\n", block, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_readme_shows_how_each_method_is_loaded():
    assert sorted(snippets()) == plugins.METHODS.names()


@pytest.mark.parametrize("name", plugins.METHODS.names())
def test_what_readme_shows_loads_what_was_learned(name, base, toy_concepts, tmp_path):
    settings = {"learning_rate": 0.05, "max_grad_norm": None, "prior": None}
    method = MethodSpec(plugins.METHODS.spec(name), settings)()
    concept = dataclasses.replace(toy_concepts[0], class_noun="dog", placeholder="<my-dog>")
    with Training(base, method, concept) as training:
        training.step()
        method.export(tmp_path)
    classes = {"CustomDiffusion": CustomDiffusion, "PPlus": PPlus, "SVDiff": SVDiff}
    shown, ours = base.pipeline(), copy.deepcopy(base).pipeline()
    drawn = []

    def draw(pipeline):
        def image(prompt):
            generator = torch.Generator().manual_seed(0)
            drawn.append(prompt)
            return pipeline(prompt, height=64, width=64, num_inference_steps=2, generator=generator, output_type="np")

        return image

    class Drawing:
        """A pipeline with few steps."""

        def __getattr__(self, attribute):
            return getattr(shown, attribute)

        def __setattr__(self, attribute, value):
            setattr(shown, attribute, value)

        def __call__(self, prompt):
            return draw(shown)(prompt)

    names = {"pipeline": Drawing(), "folder": tmp_path, "load_file": load_file, **classes}
    exec(snippets()[name], names)
    assert method.phrase_for(concept) in drawn[0]
    type(method).load_into(ours, tmp_path)
    assert np.allclose(names["image"], draw(ours)(drawn[0]).images[0], atol=1e-5)


def test_the_method_that_the_readme_writes_works(tmp_path, monkeypatch, base, toy_concepts):
    """As the text says: one file, named as module:Class, with a recipe; it trains, and its export is loaded."""
    (source,) = [text for text in re.findall(r"```python\n(.*?)```", PAGES[METHODS], flags=re.S) if "class " in text]
    (tmp_path / "my_methods.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    method = MethodSpec(plugins.METHODS.spec("my_methods:NormTuning"), {"learning_rate": 0.005}, "fast")()
    assert method.learning_rate == 0.005
    with Training(base, method, toy_concepts[0]) as training:
        losses = [training.step().l_det for _ in range(3)]
        assert len(set(losses)) == 3
        method.export(tmp_path)
        trained = {name: value.clone() for name, value in method.state_dict().items()}
    pipeline = base.pipeline()
    type(method).load_into(pipeline, tmp_path)
    weights = pipeline.unet.state_dict()
    assert all(torch.equal(weights[name.removesuffix("/value")], value) for name, value in trained.items())
