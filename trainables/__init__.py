"""Turns images and a base model into a series of the deterministic loss, one concept at a time."""

__distribution__ = "dvar-tune"
