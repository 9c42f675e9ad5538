"""How the miniature's networks were trained.

`data` renders and describes the training world; `vae`, `clip`, `dino` and `unet` each hold a network's batches and
loss; `loop` trains any of them; `export` writes the result. `trainables.miniature.pretrain` runs all of it in order:
start there.
"""
