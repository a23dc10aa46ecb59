"""Read data: digits now, image folders and loaders later."""
