"""Base models: what a text-to-image model is to the rest of the program, and the architectures that it can be.

`base.BaseModel` is the interface, and `stable_diffusion.StableDiffusion` its implementation for the versions 1.x and
2.x; a new architecture is another file. `files` finds, checks and hashes a model's files, without torch. Nothing is
exported here, since the interface imports torch.
"""
