"""README and CONTRIBUTING: their links lead somewhere, and the commands and keys they name exist."""

import copy
import dataclasses
import re
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
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md")}
COMMANDS = get_command(app).commands


@pytest.mark.parametrize("name", list(TEXTS))
def test_links_and_paths_exist(name):
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXTS[name])
    paths = re.findall(r"`((?:tests|trainables|orchestrator|search_spaces|\.ci)/[\w./]+)`", TEXTS[name])
    missing = [link for link in links + paths if not (ROOT / link).exists()]
    assert not missing
    assert links + paths


@pytest.mark.parametrize("name", list(TEXTS))
def test_commands_and_flags_exist(name):
    commands = re.findall(r"^(?:`{0,1}|\| `)dvar ([a-z]+)([^`\n#>]*)", TEXTS[name], flags=re.M)
    if name == "README.md":
        assert {command for command, _ in commands} >= {"record", "tune", "run", "compare", "show"}
    for command, rest in commands:
        options = {option for param in COMMANDS[command].params for option in param.opts}
        assert set(re.findall(r"--[\w-]+", rest)) <= options, (command, rest)


def test_keys_given_to_set_exist():
    for text in TEXTS.values():
        for key, value in re.findall(r"--set ([\w.]+)=(\w+)", text):
            build(None, None, [(key, value)])


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    named = {target for text in TEXTS.values() for target in re.findall(r"^make (\w+)", text, flags=re.M)}
    assert named
    assert named <= targets


def snippets():
    """README's ways to load what was learned, by method."""
    (block,) = [text for text in re.findall(r"```python\n(.*?)```", TEXTS["README.md"], flags=re.S) if "folder" in text]
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


def test_the_method_of_contributing_works(tmp_path, monkeypatch, base, toy_concepts):
    """As the text says: one file, named as module:Class, with a recipe; it trains, and its export is loaded."""
    (source,) = re.findall(r"```python\n(.*?)```", TEXTS["CONTRIBUTING.md"], flags=re.S)
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
