"""Loads a base model of any architecture that the program knows."""

import importlib
from pathlib import Path

import torch

from trainables.models.base import BaseModel
from trainables.models.files import architecture
from trainables.settings import BaseModelSettings


def load(folder: Path, settings: BaseModelSettings, device: torch.device | str = "cpu") -> BaseModel:
    """Load a pipeline's folder by the module of its architecture, see `trainables.models.files.ARCHITECTURES`.

    Args:
        folder: in diffusers' format.
        settings: precision and resolution; `id` and `revision` are not looked at.
        device: where the modules go.

    Raises:
        InvalidInput: a component is missing, damaged, or of a class that its architecture does not have.
    """
    module = importlib.import_module(f"trainables.models.{architecture(folder).module}")
    base: BaseModel = module.load(folder, settings, device)
    return base
