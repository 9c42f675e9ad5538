"""The classes of toys; what is drawn from seeds depends on their order."""

NOUNS = (
    "robot", "duck", "car", "house", "rocket", "mushroom", "snowman", "tree", "mug",
    "bear", "boat", "plane", "rabbit", "teapot", "lamp", "chair", "castle", "cat",
)  # fmt: skip
