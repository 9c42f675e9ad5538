"""Base models: what a text-to-image model is to the rest of the program, and the architectures that it can be.

`base.BaseModel` is the interface, and `stable_diffusion.StableDiffusion` its implementation for the versions 1.x and
2.x; a new architecture is another file, and an entry of `files.ARCHITECTURES`, by which `loading` finds it. `files`
finds, checks and hashes a model's files, without torch, and `embedded` the miniature's. Nothing is exported here, since
the interface imports torch.
"""
