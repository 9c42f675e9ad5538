"""How the miniature was trained: the data, one file a network, and the loop that they share."""
