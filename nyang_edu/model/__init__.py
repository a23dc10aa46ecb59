"""Layers, and what composes them."""
