"""Losses, optimizers, schedules, the training loop."""
