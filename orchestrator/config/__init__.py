"""The description of what to personalize and how: its types, its presets and its YAML; which concepts tune and test.

Start with `experiment.Experiment`, the typed description, and `load.build`, which makes it from a preset, a file and
single values. `presets` has the presets, `concepts` reads the images, and `split` divides the concepts into tuning and
test concepts.
"""
