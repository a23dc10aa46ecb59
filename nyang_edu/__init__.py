"""nyang torch: a deep-learning framework in NumPy, exported chapter by chapter."""

__version__ = "0.1.0"
