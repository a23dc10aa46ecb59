"""Side-by-side speed and memory: this framework, PyTorch, and the textbook's im2col."""

import nyang_edu  # noqa: F401  what it sets in the environment holds for every contender
