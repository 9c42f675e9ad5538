"""Fixtures for the study's tests."""

import pytest


@pytest.fixture
def recordings(make_recording):
    """Two concepts whose L_det falls, and whose quality rises, at different rates."""
    return [make_recording(name, 200, rate=rate, seed=i) for i, (name, rate) in enumerate([("a", 10), ("b", 20)])]
