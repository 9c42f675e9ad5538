"""The classes of toys, in the order in which everything that is drawn from seeds counts them."""

NOUNS = (
    "robot", "duck", "car", "house", "rocket", "mushroom", "snowman", "tree", "mug",
    "bear", "boat", "plane", "rabbit", "teapot", "lamp", "chair", "castle", "cat",
)  # fmt: skip
