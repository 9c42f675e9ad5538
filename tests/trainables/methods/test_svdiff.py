"""SVDiff: an export is loaded only into weights that it fits."""

import pytest

from trainables.methods.dreambooth_lora import DreamBoothLoRA
from trainables.methods.svdiff import SVDiff
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
