"""Fixtures with torch: one thread, and a base model that every test gets back as it was."""

import copy

import pytest
import torch

from trainables.base_model import load
from trainables.settings import BaseModelSettings


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Sums are split by threads: one thread makes series comparable bit for bit."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def loaded_base(miniature_path):
    return load(miniature_path, BaseModelSettings())


@pytest.fixture
def base(loaded_base):
    """A base model that a test may change."""
    return copy.deepcopy(loaded_base)
