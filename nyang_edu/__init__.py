"""nyang torch: a deep-learning framework in NumPy, exported chapter by chapter.

Names are loaded on first use, so that importing the package costs no more than NumPy, and
one broken module does not take the others with it.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "BCEWithLogitsLoss": "training.loss",
    "CrossEntropyLoss": "training.loss",
    "ELU": "model.activation",
    "Flatten": "model.flow",
    "FocalLoss": "training.loss",
    "LeakyReLU": "model.activation",
    "Linear": "model.linear",
    "Loss": "training.loss",
    "MSELoss": "training.loss",
    "Memory": "model.core",
    "NyangFlow": "model.flow",
    "NyangModel": "model.core",
    "Optimizer": "training.optimizer",
    "Parameter": "model.core",
    "Parts": "model.core",
    "ReLU": "model.activation",
    "SELU": "model.activation",
    "SGD": "training.optimizer",
    "Sigmoid": "model.activation",
    "Softmax": "model.activation",
    "Swish": "model.activation",
    "Tanh": "model.activation",
    "broadcast_shape": "utility.tensor",
    "col2im": "utility.windows",
    "contiguous_strides": "utility.tensor",
    "expect_input": "model.core",
    "fan_in_and_out": "utility.init",
    "gradcheck": "utility.gradcheck",
    "gradient_errors": "utility.gradcheck",
    "he_normal": "utility.init",
    "he_uniform": "utility.init",
    "im2col": "utility.windows",
    "init_for": "utility.init",
    "lecun_normal": "utility.init",
    "linear_backward": "model.linear",
    "linear_forward": "model.linear",
    "log_softmax": "training.loss",
    "match_classes": "training.loss",
    "no_memory": "model.core",
    "numerical_gradient": "utility.gradcheck",
    "one_hot": "utility.tensor",
    "output_size": "utility.windows",
    "pad2d": "utility.windows",
    "pair": "utility.windows",
    "relative_error": "utility.compare",
    "sigmoid": "model.activation",
    "sliding_windows": "utility.tensor",
    "sliding_windows_2d": "utility.tensor",
    "standardize": "utility.tensor",
    "uniform_fan_in": "model.linear",
    "xavier_normal": "utility.init",
    "xavier_uniform": "utility.init",
}
__all__ = sorted(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'nyang_edu' has no attribute {name!r}")
    return getattr(import_module(f"nyang_edu.{_HOMES[name]}"), name)


def __dir__():
    return [*globals(), *_HOMES]
