"""How well a network segments a data set: prediction, measures, pictures of what was predicted."""

from icnn_core.evaluation.calling import to_logits
from icnn_core.evaluation.inference import Inference, predict_logits
from icnn_core.evaluation.loop import evaluate
from icnn_core.evaluation.measures import Evaluation, choose_classes, confusion_matrix

__all__ = [
    "Evaluation",
    "Inference",
    "choose_classes",
    "confusion_matrix",
    "evaluate",
    "predict_logits",
    "to_logits",
]
