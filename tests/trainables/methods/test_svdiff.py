"""SVDiff: shifts move singular values, and an export is loaded only into weights that it fits."""

import pytest
import torch

from trainables.methods.dreambooth_lora import DreamBoothLoRA
from trainables.methods.svdiff import SpectralShift, SVDiff
from trainables.training.training import Training


def test_a_unet_with_an_adapter_is_refused(base, toy_concepts, tmp_path):
    for method in (SVDiff(), DreamBoothLoRA()):
        folder = tmp_path / type(method).__name__
        folder.mkdir()
        with Training(base, method, toy_concepts[0]):
            method.export(folder)
    pipeline = base.pipeline()
    pipeline.load_lora_weights(tmp_path / "DreamBoothLoRA")
    with pytest.raises(ValueError, match="another U-Net, or this one carries an adapter: they differ in"):
        SVDiff.load_into(pipeline, tmp_path / "SVDiff")


def test_shifts_move_singular_values_and_none_falls_below_zero():
    """Equation 3 of the method's paper."""
    weight = torch.randn(5, 3, 2, generator=torch.Generator().manual_seed(0))  # a convolution: 5 rows of 6
    shifted, shift = SpectralShift(weight), torch.tensor([0.5, -0.25, 0.0, 1.0, -100.0])
    with torch.no_grad():
        shifted.shift.copy_(shift)
        values = torch.linalg.svdvals(shifted(weight).flatten(1))
    expected = (torch.linalg.svdvals(weight.flatten(1)) + shift).clamp(min=0).sort(descending=True).values
    assert torch.allclose(values, expected, atol=1e-5)
