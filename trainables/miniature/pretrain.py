"""Trains the miniature from nothing but a seed: python -m trainables.miniature.pretrain --folder DIR.

A training can be cut short (`--seconds`); the same command then resumes where it stopped.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from trainables.data.randomness import derived_seed
from trainables.errors import InvalidInput
from trainables.miniature import models
from trainables.miniature.models import Sizes
from trainables.miniature.pretraining import data as dataset
from trainables.miniature.pretraining import export
from trainables.miniature.pretraining.clip import ClipTask
from trainables.miniature.pretraining.data import Data
from trainables.miniature.pretraining.dino import DinoTask
from trainables.miniature.pretraining.loop import Loop, Schedule, Task
from trainables.miniature.pretraining.unet import UnetTask
from trainables.miniature.pretraining.vae import VaeTask, encode
from trainables.models.quiet import quiet_libraries
from trainables.tensors import part

NETWORKS = ("vae", "clip", "dino", "unet")
LATENTS_FILE, SETTINGS_FILE = "latents.safetensors", "settings.json"


@dataclass(frozen=True)
class Settings:
    """Everything that determines the weights.

    Attributes:
        seed: of the world, the initial weights and the batches.
        toys: number of toys that are rendered.
        views: images per toy.
        sizes: of the networks.
        schedules: schedule of each of `NETWORKS`.
    """

    seed: int = 0
    toys: int = 40_000
    views: int = 4
    sizes: Sizes = models.FULL
    schedules: dict[str, Schedule] = field(
        default_factory=lambda: {
            "vae": Schedule(steps=15_000, batch=128, learning_rate=8e-4, average=0.999, weight_decay=0.0),
            "clip": Schedule(steps=2_000, batch=1024, learning_rate=1e-3, average=0.998, weight_decay=0.1),
            "dino": Schedule(steps=2_500, batch=512, learning_rate=5e-4, average=0.998, weight_decay=0.04),
            "unet": Schedule(steps=34_000, batch=512, learning_rate=1e-3, average=0.9995),
        }
    )


def tiny() -> Settings:
    """Return settings that take a CPU seconds; they exercise every part and train nothing useful."""
    schedule = Schedule(steps=4, batch=8, learning_rate=1e-3, average=0.5)
    return Settings(toys=20, views=2, sizes=models.TINY, schedules=dict.fromkeys(NETWORKS, schedule))


class Pretraining:
    """Goes from a seed to a folder of weights, in as many sessions as needed.

    Args:
        settings: what to train; the same in every session, except that steps may be added.
        folder: keeps the state between sessions; created if missing.
        device: where to compute.
        deadline: value of `time.monotonic()` at which to stop.
        say: called with lines about progress.
    """

    def __init__(
        self, settings: Settings, folder: Path, device: torch.device, deadline: float, say: Callable[[str], None]
    ) -> None:
        self._settings, self._folder, self._device = settings, folder, device
        self._deadline, self._say = deadline, say
        folder.mkdir(parents=True, exist_ok=True)

    def _check_settings(self) -> None:
        """Refuse settings that differ from those the folder was begun with, except for added steps."""
        settings = self._settings_without_steps()
        path = self._folder / SETTINGS_FILE
        if not path.exists():
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps(settings, indent=1), encoding="utf-8")
            partial.replace(path)
        begun = json.loads(path.read_text(encoding="utf-8"))
        if differing := [name for name in settings if begun.get(name) != settings[name]]:
            raise InvalidInput(f"{self._folder} was begun with another {', '.join(differing)}; give another --folder")
        self._check_steps()

    def _settings_without_steps(self) -> dict[str, object]:
        """Return the settings as JSON gives them back, so that they compare equal to those of the file."""
        schedules = {name: asdict(schedule) for name, schedule in self._settings.schedules.items()}
        for schedule in schedules.values():
            del schedule["steps"]
        settings: dict[str, object] = json.loads(json.dumps(asdict(self._settings) | {"schedules": schedules}))
        return settings

    def _check_steps(self) -> None:
        """Refuse other steps than were done, except more of the network that was trained last."""
        begun_networks = [name for name in NETWORKS if self._facts(name).exists()]
        for name in begun_networks:
            done = json.loads(self._facts(name).read_text())["steps"]
            asked = self._settings.schedules[name].steps
            if asked < done or (asked > done and name != begun_networks[-1]):
                raise InvalidInput(
                    f"{name} has {done} steps in {self._folder} and {asked} are asked for: steps can only be added, "
                    "and only to the network trained last; give another --folder"
                )

    def run(self) -> bool:
        """Train as far as the deadline allows; return whether everything is trained.

        Raises:
            InvalidInput: the folder was begun with other settings, or steps were taken away.
        """
        self._check_settings()
        begun = time.perf_counter()
        ahead = self._compile_ahead()
        data = self._data()
        self._say(f"data: {len(data):,} images in {time.perf_counter() - begun:.0f} s")
        if ahead:
            ahead.wait()
            self._say(f"compiled after {time.perf_counter() - begun:.0f} s")
        for name in NETWORKS:
            if not self._train(name, data):
                self._say(f"{name}: the time is up; the same command resumes")
                return False
        return True

    def _compile_ahead(self) -> subprocess.Popen[bytes] | None:
        """Start a process that fills the compiler's cache, which takes minutes, while the GPU renders."""
        if (
            self._device.type != "cuda"
            or self._settings.sizes != models.FULL
            or (self._folder / dataset.DATA_FILE).exists()
        ):
            return None
        command = [sys.executable, "-m", "trainables.miniature.pretrain", "--folder", str(self._folder), "--compile"]
        return subprocess.Popen(command)

    def compile(self) -> None:
        """Fill the compiler's cache: train every compiled network for a second on random data."""
        sizes, device = self._settings.sizes, self._device
        images = torch.randint(256, (64, 3, models.RESOLUTION, models.RESOLUTION), device=device, dtype=torch.uint8)
        tokens = torch.randint(500, (64, 5, models.TEXT_LENGTH), device=device, dtype=torch.int16)
        data, side = Data(images, tokens, 1), models.RESOLUTION // 4
        latents = torch.randn(64, sizes.latent_channels, side, side, device=device).half()
        text_encoder = models.make_text_encoder(sizes, models.make_tokenizer()).to(device).eval()
        unet = UnetTask(sizes, data, (latents, latents), text_encoder, device)
        for name, task in (("vae", VaeTask(sizes, data, device)), ("unet", unet)):
            Loop(task, self._settings.schedules[name], 0, device).run(time.monotonic() + 1, self._say)

    def _data(self) -> Data:
        data = dataset.load(self._folder, self._device)
        if data is None:
            workers = 12 if self._device.type == "cuda" else 0
            seed = derived_seed(self._settings.seed, "world")
            data = dataset.make_data(seed, self._settings.toys, self._settings.views, self._device, workers)
            dataset.save(data, self._folder)
        return data

    def _train(self, name: str, data: Data) -> bool:
        """Train a network to its end or the deadline; return whether it is done."""
        facts, state = self._facts(name), self._folder / f"{name}.state.safetensors"
        if facts.exists() and json.loads(facts.read_text())["steps"] >= self._settings.schedules[name].steps:
            return True
        with torch.random.fork_rng(devices=[]):  # constructors take no generator, so the seed is set here
            torch.manual_seed(derived_seed(self._settings.seed, name, "weights"))
            task = self._task(name, data)
        seed = derived_seed(self._settings.seed, name, "batches")
        loop = Loop(task, self._settings.schedules[name], seed, self._device)
        if state.exists():
            loop.load(state)
        loop.run(self._deadline, lambda line: self._say(f"{name}: {line}"))
        loop.save(state)
        facts.write_text(json.dumps(loop.facts(), indent=1), encoding="utf-8")
        save_file({key: value.cpu().contiguous() for key, value in loop.averaged().items()}, self._weights(name))
        return loop.is_done

    def _facts(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _weights(self, name: str) -> Path:
        return self._folder / f"{name}.safetensors"

    def _task(self, name: str, data: Data) -> Task:
        sizes, device = self._settings.sizes, self._device
        match name:
            case "vae":
                return VaeTask(sizes, data, device)
            case "clip":
                return ClipTask(sizes, data, device)
            case "dino":
                return DinoTask(sizes, data, device)
            case _:
                return UnetTask(sizes, data, self._latents(data), self._text_encoder(), device)

    def _encode(self, data: Data) -> None:
        """Write the latents of every image, scaled to unit variance."""
        vae = models.make_vae(self._settings.sizes).to(self._device)
        vae.load_state_dict(load_file(self._weights("vae")))
        mean, std = encode(vae, data)
        factor = 1 / mean[:4096].float().std()
        tensors = {"mean": mean * factor.half(), "std": std * factor.half(), "factor": factor}
        save_file({key: value.cpu().contiguous() for key, value in tensors.items()}, self._folder / LATENTS_FILE)

    def _latents(self, data: Data) -> tuple[Tensor, Tensor]:
        if not (self._folder / LATENTS_FILE).exists():
            self._encode(data)
        tensors = load_file(self._folder / LATENTS_FILE, device=str(self._device))
        return tensors["mean"], tensors["std"]

    def _text_encoder(self) -> torch.nn.Module:
        encoder = models.make_text_encoder(self._settings.sizes, models.make_tokenizer())
        encoder.load_state_dict(export.text_half(load_file(self._weights("clip"))))
        moved: torch.nn.Module = encoder.to(self._device).eval()
        return moved

    def export(self, target: Path) -> None:
        """Write the weights in half precision, as far as they are trained; see `export.write`.

        Args:
            target: an empty or new folder.

        Raises:
            InvalidInput: the training of a network has not begun.
        """
        missing = [name for name in NETWORKS if not self._weights(name).exists()]
        if missing:
            raise InvalidInput(f"nothing to export yet: {', '.join(missing)} not begun in {self._folder}; train on")
        weights: dict[str, dict[str, Tensor]] = {name: load_file(self._weights(name)) for name in NETWORKS}
        weights["dino"] = part(weights["dino"], "vit")
        facts = {name: json.loads(self._facts(name).read_text()) for name in NETWORKS}
        factor = load_file(self._folder / LATENTS_FILE)["factor"].item()
        card = {"settings": asdict(self._settings), "training": facts, "torch": torch.__version__}
        export.write(target, self._settings.sizes, weights, factor, card)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, whose flags are the arguments of `Pretraining` and what to do with it."""
    parser = argparse.ArgumentParser(prog="python -m trainables.miniature.pretrain", description=__doc__)
    add = parser.add_argument
    add("--folder", type=Path, required=True, help="where everything is kept; resumes what it holds")
    add("--tiny", action="store_true", help="try all parts on a CPU, in seconds")
    add("--seconds", type=float, default=float("inf"), help="stop after so many seconds (default: when done)")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="where to compute")
    add("--export", type=Path, help="write the weights in half precision to this folder at the end")
    add("--steps", nargs="+", default=[], metavar="NETWORK=STEPS", help="train a network for so many steps instead")
    add("--compile", action="store_true", help="only fill the compiler's cache")
    return parser


def main() -> None:
    """Parse the command line and train."""
    command_line = parser()
    arguments = command_line.parse_args()
    quiet_libraries()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.benchmark = True
    try:
        settings = _with_steps(tiny() if arguments.tiny else Settings(), arguments.steps)
        _run(settings, arguments)
    except InvalidInput as error:
        command_line.error(str(error))


def _with_steps(settings: Settings, assignments: Sequence[str]) -> Settings:
    """Return settings with the steps that `--steps` assigns to networks."""
    schedules = dict(settings.schedules)
    for assignment in assignments:
        name, _, steps = assignment.partition("=")
        if name not in NETWORKS or not steps.isdecimal() or int(steps) < 1:
            raise InvalidInput(f"--steps {assignment}: say for example unet=45000; networks are {', '.join(NETWORKS)}")
        schedules[name] = replace(schedules[name], steps=int(steps))
    return replace(settings, schedules=schedules)


def _run(settings: Settings, arguments: argparse.Namespace) -> None:
    begun = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - begun:5.0f} s] {line}", flush=True)

    device, deadline = torch.device(arguments.device), begun + arguments.seconds
    pretraining = Pretraining(settings, arguments.folder, device, deadline, say)
    if arguments.compile:
        pretraining.compile()
        return
    is_done = pretraining.run()
    if arguments.export:
        pretraining.export(arguments.export)
        say(f"exported{'' if is_done else ', half trained,'} to {arguments.export}")


if __name__ == "__main__":
    main()
