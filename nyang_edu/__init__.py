"""nyang torch: a deep-learning framework in NumPy, exported chapter by chapter.

Names are loaded on first use, so that importing the package costs no more than NumPy, and
one broken module does not take the others with it.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "Linear": "model.linear",
    "Memory": "model.core",
    "NyangModel": "model.core",
    "Parameter": "model.core",
    "Parts": "model.core",
    "expect_input": "model.core",
    "gradcheck": "utility.gradcheck",
    "gradient_errors": "utility.gradcheck",
    "linear_backward": "model.linear",
    "linear_forward": "model.linear",
    "no_memory": "model.core",
    "numerical_gradient": "utility.gradcheck",
    "relative_error": "utility.compare",
    "uniform_fan_in": "model.linear",
}
__all__ = sorted(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'nyang_edu' has no attribute {name!r}")
    return getattr(import_module(f"nyang_edu.{_HOMES[name]}"), name)


def __dir__():
    return [*globals(), *_HOMES]
