"""Loads a base model, or its tokenizer alone, of any architecture that the program knows."""

import importlib
from pathlib import Path
from types import ModuleType

import torch

from trainables.models.base import BaseModel, ReadsCaptions
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
    base: BaseModel = _module(folder).load(folder, settings, device)
    return base


def load_tokenizer(folder: Path) -> ReadsCaptions:
    """Load what reads a pipeline's captions, without any network.

    Raises:
        InvalidInput: it is missing or damaged.
    """
    reader: ReadsCaptions = _module(folder).load_tokenizer(folder)
    return reader


def _module(folder: Path) -> ModuleType:
    return importlib.import_module(f"trainables.models.{architecture(folder).module}")
