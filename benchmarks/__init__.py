"""Side-by-side speed and memory: this framework, PyTorch, and the textbook's im2col."""
