"""Images of the class: drawn once by the base model, kept by everything that determines them."""

import dataclasses
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from trainables.errors import InvalidInput
from trainables.methods import _prior as prior
from trainables.methods._prior import PriorSettings, class_images
from trainables.methods.dreambooth import DreamBooth
from trainables.models.stable_diffusion import load
from trainables.quality import clip as quality
from trainables.settings import BaseModelSettings
from trainables.training.training import Training

FEW = PriorSettings(images=3, inference_steps=1)


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """The prompts of every drawing, in a cache of the test's own."""
    monkeypatch.setenv(prior.CACHE_VARIABLE, str(tmp_path))
    seen, original = [], quality.draw_samples

    def draw(pipeline, prompts, *rest):
        seen.append(list(prompts))
        return original(pipeline, prompts, *rest)

    monkeypatch.setattr(quality, "draw_samples", draw)
    return seen


def test_they_are_drawn_once(base, calls):
    first, second = (class_images(base, "robot", FEW) for _ in range(2))
    assert calls == [["a photo of a robot"] * 3]
    assert [image.tobytes() for image in first] == [image.tobytes() for image in second]
    assert len({image.tobytes() for image in first}) == 3


@pytest.mark.parametrize(
    ("noun", "changes", "count"),
    [("car", {}, 2), ("robot", {"seed": 1}, 2), ("robot", {"images": 2}, 2), ("robot", {"weight": 0.5}, 1)],
)
def test_whatever_determines_them_is_part_of_the_key(base, calls, noun, changes, count):
    class_images(base, "robot", FEW)
    class_images(base, noun, dataclasses.replace(FEW, **changes))
    assert len(calls) == count


@pytest.mark.parametrize("change", ["weights", "dtype", "resolution"])
def test_the_model_is_part_of_the_key(tiny_path, tmp_path, calls, change):
    class_images(load(tiny_path, BaseModelSettings()), "robot", FEW)
    folder = tmp_path / "other"
    shutil.copytree(tiny_path, folder)
    if change == "weights":
        config = folder / "scheduler" / "scheduler_config.json"
        config.write_text(config.read_text().replace("0.012", "0.013"))
    settings = {"dtype": {"dtype": "bfloat16"}, "resolution": {"resolution": 32}}.get(change, {})
    class_images(load(folder, BaseModelSettings(**settings)), "robot", FEW)
    assert len(calls) == 2


@pytest.mark.parametrize("damage", ["missing", "cut", "all", "another image", "another hash"])
def test_what_a_tidied_cache_lacks_is_drawn_again(base, calls, tmp_path, damage):
    before = class_images(base, "robot", FEW)
    first, *others = sorted(tmp_path.rglob("*.png"))
    if damage == "cut":
        first.write_bytes(first.read_bytes()[:60])
    elif damage == "another image":
        shutil.copy(others[0], first)
    elif damage == "another hash":
        sums = first.with_name("SHA256SUMS")
        sums.write_text(sums.read_text().replace("0", "1"))
    else:
        for path in [first, *(others if damage == "all" else [])]:
            path.unlink()
    again = class_images(base, "robot", FEW)
    assert [image.tobytes() for image in again] == [image.tobytes() for image in before]


def test_a_link_in_the_cache_is_replaced_and_its_target_left_alone(base, calls, tmp_path):
    class_images(base, "robot", FEW)
    (folder,) = (path.parent for path in tmp_path.rglob("00000.png"))
    elsewhere = tmp_path / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    before = {path.name: path.read_bytes() for path in elsewhere.iterdir()}
    class_images(base, "robot", FEW)
    assert len(calls) == 2
    assert not folder.is_symlink()
    assert {path.name: path.read_bytes() for path in elsewhere.iterdir()} == before


def test_two_requests_at_once_draw_once(base, calls):
    with ThreadPoolExecutor(2) as pool:
        drawn = [*pool.map(lambda _: class_images(base, "robot", FEW), range(2))]
    assert len(calls) == 1
    assert [len(images) for images in drawn] == [3, 3]


def test_an_interrupted_drawing_leaves_nothing(base, calls, monkeypatch, tmp_path):
    monkeypatch.setattr(quality, "draw_samples", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        class_images(base, "robot", FEW)
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".png"]
    monkeypatch.undo()
    monkeypatch.setenv(prior.CACHE_VARIABLE, str(tmp_path))
    assert len(class_images(base, "robot", FEW)) == 3


class Noting(DreamBooth):
    """Computes by hand, input by input, what its loss should be where the class counts a quarter."""

    def loss(self, base, inputs):
        with torch.no_grad():
            own, of_class = (self.predict(base, inputs) - inputs.target_bchw).square().mean(dim=(1, 2, 3)).tolist()
        self.by_hand, self.inputs = own + 0.25 * of_class, inputs
        return super().loss(base, inputs)


def test_a_training_step_adds_the_class_with_its_weight_and_noise_of_its_own(base, toy_concepts, calls):
    method = Noting(prior=dataclasses.replace(FEW, weight=0.25))
    with Training(base, method, toy_concepts[0]) as training:
        assert training.fixed_batch.inputs.prior_count == 0
        assert training.step().train_loss == pytest.approx(method.by_hand, rel=1e-5)
    assert not torch.equal(*method.inputs.target_bchw)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"images": 0}, "prior.images must be at least 1, got 0"),
        ({"weight": 0}, "prior.weight must be positive, got 0"),
        ({"count": 5}, "prior has no setting 'count'; available: weight, images"),
    ],
)
def test_unusable_settings(settings, message):
    with pytest.raises(InvalidInput, match=message):
        DreamBooth(prior=settings)
