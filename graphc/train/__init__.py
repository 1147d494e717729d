"""Training loops, and what watches, keeps and shows them."""

from graphc.train.callbacks import (
    Callback,
    Checkpoint,
    CSVLog,
    EarlyStopping,
    Steps,
    watching,
)
from graphc.train.files import check_place, load_arrays, save_arrays
from graphc.train.history import History
from graphc.train.progress import Progress
from graphc.train.step import EvalStep, TrainStep, compile_eval_step, compile_train_step
from graphc.train.trainer import Trainer

__all__ = [
    "CSVLog",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "EvalStep",
    "History",
    "Progress",
    "Steps",
    "TrainStep",
    "Trainer",
    "check_place",
    "compile_eval_step",
    "compile_train_step",
    "load_arrays",
    "save_arrays",
    "watching",
]
