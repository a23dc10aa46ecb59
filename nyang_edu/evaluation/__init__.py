"""Metrics and inference."""
