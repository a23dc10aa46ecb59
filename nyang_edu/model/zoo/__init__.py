"""Architectures with names, built by composition: none of them writes a backward."""
