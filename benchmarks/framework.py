"""The one place that says where the layers under test come from."""

from nyang_edu import (  # noqa: F401
    BatchNorm1d,
    BatchNorm2d,
    Conv1d,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool2d,
    NyangFlow,
    ReLU,
    Residual,
    SkipConcat,
    Upsample,
)
from nyang_edu.utility import team  # noqa: F401
