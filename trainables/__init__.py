"""Personalizes text-to-image models, and measures the deterministic loss L_det (paper, section 3.2) after every step.

Start with `training.training.Training`, which personalizes a base model to one concept, step by step; its docstring
holds an example that runs. What it is made of has a package each:

    training     the loop, a run with its checkpoints, and the Ray Tune trainable around it
    methods      the personalization methods, one file each
    quality      CLIP scores of samples
    data         concepts, and the inputs of the loss that are drawn from them
    models       the base model as an interface, and Stable Diffusion behind it
    miniature    the embedded base model, its concepts and its pretraining

Nothing here implements stopping criteria, recordings or studies: those are in `orchestrator`.
"""

__distribution__ = "dvar-tune"
