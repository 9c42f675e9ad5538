"""The world of the miniature: toys, the scenes that they stand in, their pictures, and the words for both."""
