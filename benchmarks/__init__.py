"""Side-by-side speed and memory: this framework, PyTorch, and the textbook's im2col."""

import nyang_edu.utility.team  # noqa: F401  what it sets, for threads and memory, holds for all
