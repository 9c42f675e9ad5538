"""How good a personalization is: samples, their CLIP scores, and pictures of both.

Start with `clip.QualityProbe`, which draws samples of a concept and scores them by a `clip.ClipScorer`. `pictures`
puts samples side by side, and needs Pillow alone. Nothing is exported here, since the scores import torch.
"""
