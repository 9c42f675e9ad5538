"""The smallest pretraining: all its parts, interrupted and resumed, exported, loaded and measured."""

import itertools
import json
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from trainables.errors import InvalidInput
from trainables.miniature import curves, models, pretrain
from trainables.miniature.evaluate import WeightsEvaluator
from trainables.miniature.pretrain import NETWORKS, Pretraining, tiny
from trainables.miniature.pretraining import data as dataset
from trainables.miniature.pretraining.clip import ClipTask
from trainables.miniature.pretraining.dino import DinoTask
from trainables.miniature.pretraining.loop import Loop, Schedule
from trainables.miniature.pretraining.vae import VaeTask
from trainables.miniature.recipes import Recipe
from trainables.models import embedded
from trainables.models.stable_diffusion import load
from trainables.quality.clip import ClipScorer
from trainables.settings import BaseModelSettings, QualitySettings

pytestmark = pytest.mark.model

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data():
    return dataset.make_data(3, 12, 2, CPU, workers=0)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A finished pretraining, its folder, and the lines that it printed."""
    folder, said = tmp_path_factory.mktemp("pretraining"), []
    pretraining = Pretraining(tiny(), folder, CPU, time.monotonic() + 300, said.append)
    assert pretraining.run()
    return pretraining, folder, said


@pytest.fixture(scope="module")
def weights(pretrained, tmp_path_factory):
    target = tmp_path_factory.mktemp("exported") / "weights"
    pretrained[0].export(target)
    return target


def test_data_depend_only_on_their_seed_and_not_on_the_processes_that_draw_them(data):
    again = dataset.make_data(3, 12, 2, CPU, workers=1)
    assert torch.equal(again.images_bchw, data.images_bchw)
    assert torch.equal(again.tokens_bkl, data.tokens_bkl)
    assert data.images_bchw.shape == (24, 3, 64, 64)
    assert data.tokens_bkl.shape == (24, 5, models.TEXT_LENGTH)


def test_every_network_reports_its_speed(pretrained):
    _, folder, said = pretrained
    for name in NETWORKS:
        assert any(line.startswith(f"{name}: step 4/4") and "images/s" in line for line in said)
        facts = json.loads((folder / f"{name}.json").read_text())
        assert facts["steps"] == 4
        assert facts["operations_per_step"] > 1e6


def test_a_finished_pretraining_is_not_repeated(pretrained):
    _, folder, _ = pretrained
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert Pretraining(tiny(), folder, CPU, time.monotonic() + 300, print).run()
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_folder_that_was_begun_with_other_settings_is_refused(pretrained, capsys, monkeypatch):
    _, folder, _ = pretrained
    with pytest.raises(InvalidInput, match="was begun with another seed, views; give another --folder"):
        Pretraining(replace(tiny(), views=3, seed=1), folder, CPU, time.monotonic(), print).run()
    monkeypatch.setattr("sys.argv", ["pretrain", "--folder", str(folder), "--device", "cpu"])
    with pytest.raises(SystemExit):
        pretrain.main()
    assert "was begun with another toys, views, sizes, schedules" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "steps"), [("vae", 5), ("clip", 3), ("unet", 3)])
def test_steps_of_a_network_that_others_build_on_cannot_change(pretrained, name, steps):
    _, folder, _ = pretrained
    settings = tiny()
    settings.schedules[name] = replace(settings.schedules[name], steps=steps)
    with pytest.raises(InvalidInput, match=f"{name} has 4 steps in .* and {steps} are asked for"):
        Pretraining(settings, folder, CPU, time.monotonic(), print).run()


@pytest.mark.parametrize("assignment", ["unet", "unet=00", "unet=many", "gan=7"])
def test_malformed_steps_are_refused(assignment, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["pretrain", "--folder", str(tmp_path / "new"), "--tiny", "--steps", assignment])
    with pytest.raises(SystemExit):
        pretrain.main()
    assert f"--steps {assignment}: say for example unet=45000" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_each_network_trains_for_the_steps_it_is_given(tmp_path, monkeypatch):
    steps = ["vae=2", "clip=1", "dino=1", "unet=3"]
    monkeypatch.setattr(
        "sys.argv", ["pretrain", "--folder", str(tmp_path), "--tiny", "--device", "cpu", "--steps", *steps]
    )
    pretrain.main()
    assert {name: json.loads((tmp_path / f"{name}.json").read_text())["steps"] for name in NETWORKS} == {
        "vae": 2, "clip": 1, "dino": 1, "unet": 3
    }  # fmt: skip


def test_a_deadline_ends_training_early_and_networks_not_begun_are_not_exported(tmp_path):
    pretraining = Pretraining(replace(tiny(), toys=2), tmp_path, CPU, time.monotonic() - 1, print)
    assert not pretraining.run()
    with pytest.raises(InvalidInput, match="clip, dino, unet not begun"):
        pretraining.export(tmp_path / "weights")


@pytest.mark.parametrize("task", [VaeTask, ClipTask, DinoTask])
def test_an_interrupted_and_resumed_loop_ends_with_the_same_weights(task, data, tmp_path):
    schedule = Schedule(steps=6, batch=4, learning_rate=1e-3, average=0.5)

    def make():
        torch.manual_seed(0)
        return Loop(task(models.TINY, data, CPU), schedule, 1, CPU)

    whole, first, second = make(), make(), make()
    whole.run(time.monotonic() + 60, print)
    for _ in range(3):
        first._step()
    first.save(tmp_path / "state.safetensors")
    second.load(tmp_path / "state.safetensors")
    for parameter, moments in second._optimizer.state.items():  # a fused optimizer needs the same memory layout
        assert moments["exp_avg"].stride() == parameter.stride()
    second.run(time.monotonic() + 60, print)
    assert second.steps_done == 6
    for name, value in whole.averaged().items():
        assert torch.equal(value, second.averaged()[name]), name


def test_a_vae_learns(data):
    torch.manual_seed(0)
    loop = Loop(VaeTask(models.TINY, data, CPU), Schedule(60, 8, 3e-3, 0.5), 1, CPU)
    losses = []
    for _ in range(60):
        loop._step()
        losses.append(loop._loss.item())
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])


def test_the_learning_rate_warms_up_then_stays_then_falls():
    schedule = Schedule(steps=1000, batch=1, learning_rate=2.0)
    rates = [schedule.rate(step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.02)
    assert rates[100:700] == pytest.approx([2.0] * 600)
    assert all(a > b for a, b in itertools.pairwise(rates[701:]))
    assert rates[-1] < 1e-3


def test_exported_weights_are_the_trained_ones(pretrained, weights):
    base = load(weights, BaseModelSettings(str(weights)))
    _, folder, _ = pretrained
    for name, module in (("unet", base.unet), ("vae", base.vae)):
        for key, value in load_file(folder / f"{name}.safetensors").items():
            assert torch.equal(module.state_dict()[key], value.half().float()), key


def test_the_text_encoder_is_stored_once_and_shared_with_clip(weights):
    base = load(weights, BaseModelSettings(str(weights)))
    clip = ClipScorer(str(weights / "clip"), CPU)._model
    ours, theirs = base.text_encoder.state_dict(), clip.text_model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert not [key for key in load_file(weights / "clip" / "vision.safetensors") if key.startswith("text_model.")]


def test_a_damaged_or_missing_file_is_named(weights, tmp_path):
    import shutil

    copy = tmp_path / "weights"
    shutil.copytree(weights, copy)
    embedded.check(copy)
    embedded.check.cache_clear()
    victim = copy / "vae" / "diffusion_pytorch_model.safetensors"
    content = bytearray(victim.read_bytes())
    content[-1] ^= 1
    victim.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"vae.diffusion_pytorch_model\.safetensors is damaged"):
        embedded.check(copy)
    victim.unlink()
    with pytest.raises(InvalidInput, match=r"lacks .*vae"):
        embedded.check(copy)


def test_untrained_networks_depend_only_on_their_seed(tmp_path):
    from trainables.miniature.pretraining.export import write_untrained

    cards = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_untrained(tmp_path / name, models.TINY, seed)
        cards.append(json.loads((tmp_path / name / embedded.CARD).read_text())["sha256"])
    assert cards[0] == cards[1] != cards[2]


@pytest.fixture(scope="module")
def evaluator(weights):
    return WeightsEvaluator(weights, CPU, 6, QualitySettings(samples=2, inference_steps=2))


def test_untrained_networks_give_every_metric_and_miss_the_targets_of_the_vae(evaluator):
    metrics = [*evaluator.vae(), *evaluator.clip(), *evaluator.identity(), *evaluator.text_to_image()]
    subjects = [metric.name.split(":")[0] for metric in metrics]
    assert subjects == ["VAE", "VAE", "CLIP", "DINO", "samples", "samples", "samples"]
    assert all("MISSED" in str(metric) for metric in metrics if metric.name.startswith("VAE"))


def test_curves_are_the_same_when_other_processes_learn_them(weights):
    recipe = Recipe({"batch_size": 2}, budget=12, every=4)
    samples = QualitySettings(samples=2, inference_steps=2)
    task = curves.Task(weights, "cpu", "textual_inversion", recipe, samples)
    names = ["mug_1", "car_1"]
    learned = [*curves.learn(task, names, workers=1)]
    elsewhere = [*curves.learn(task, names, workers=2)]
    assert [curve.steps for curve in learned] == [[0, 4, 8, 12]] * 2
    assert [curve.concept.name for curve in elsewhere] == names
    assert all(torch.equal(a.l_det, b.l_det) for a, b in zip(learned, elsewhere, strict=True))
    way, with_l_det, with_loss = curves.learning_metrics(learned, "textual_inversion")
    assert way.value == pytest.approx(sum(curve.covered for curve in learned) / 2)
    assert with_l_det.value == pytest.approx(sum(curve.correlation(curve.l_det) for curve in learned) / 2)
    assert with_loss.value == pytest.approx(abs(sum(curve.correlation(curve.train_loss) for curve in learned)) / 2)


def test_shares_and_correlations_of_a_curve_equal_those_by_hand():
    l_det = torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0, 1.0], dtype=torch.float64)
    curve = curves.TrainingCurve(None, l_det, -l_det, [0, 2, 4, 6], torch.tensor([0.2, 0.4, 0.8, 0.6]), 1.0, [])
    assert curve.covered == pytest.approx(0.5)
    assert [curve.snapshot(step) for step in (0, 1, 2, 3, 5, 6)] == [0, 0, 1, 1, 2, 3]
    assert curve.kept(3) == pytest.approx(0.5)
    assert curve.kept(6) == pytest.approx(0.75)
    # L_det at steps 2, 4, 6 is 4, 2, 1 and the scores there are 0.4, 0.8, 0.6.
    expected = np.corrcoef([4, 2, 1], [0.4, 0.8, 0.6])[0, 1]
    assert curve.correlation(l_det) == pytest.approx(expected, abs=1e-6)
    assert curve.correlation(-l_det) == pytest.approx(-expected, abs=1e-6)


def test_real_renders_have_the_floors_of_their_captions(evaluator):
    assert evaluator._floors(evaluator._images) == 1.0
