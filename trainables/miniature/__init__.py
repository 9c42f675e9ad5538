"""The embedded default model: a small Stable Diffusion, and the world of rendered toys that it was trained on.

`miniature_folder` returns the weights. `entries` names the concepts and `concepts` renders them from `world`; `recipes`
holds the settings with which each method learns them. `models`, `pretrain` and `pretraining` train the networks;
`evaluate`, `curves` and `perceptual` measure them, as `metrics`. Start with the README in this folder.

Example:
    >>> from trainables.miniature import entries, miniature_folder
    >>> (miniature_folder() / "model_index.json").exists()
    True
    >>> entries.FEW
    ('car_1', 'cat_3', 'mug_1', 'rabbit_3', 'robot_1', 'teapot_3')
"""

from trainables.models.embedded import miniature_folder

__all__ = ["miniature_folder"]
