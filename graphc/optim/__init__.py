"""Optimisers, and the learning rates that they follow."""

from graphc.optim.adam import Adam, Adamax, AdamW
from graphc.optim.adaptive import Adadelta, Adagrad, RMSprop, WindowGrad
from graphc.optim.clip import clip_norm, clip_value
from graphc.optim.optimizer import Optimizer
from graphc.optim.schedules import (
    Constant,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LinearWarmup,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    Schedule,
    StepLR,
)
from graphc.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Constant",
    "CosineAnnealingLR",
    "ExponentialLR",
    "LambdaLR",
    "LinearLR",
    "LinearWarmup",
    "MultiStepLR",
    "OneCycleLR",
    "Optimizer",
    "PolynomialLR",
    "RMSprop",
    "ReduceLROnPlateau",
    "Schedule",
    "StepLR",
    "WindowGrad",
    "clip_norm",
    "clip_value",
]
