"""How well a network segments a data set: prediction, measures, pictures of what was predicted."""

from icnn_core.evaluation.calling import to_logits as to_logits
from icnn_core.evaluation.inference import Inference as Inference
from icnn_core.evaluation.inference import predict_logits as predict_logits
from icnn_core.evaluation.loop import evaluate as evaluate
from icnn_core.evaluation.measures import Evaluation as Evaluation
from icnn_core.evaluation.measures import choose_classes as choose_classes
from icnn_core.evaluation.measures import confusion_matrix as confusion_matrix
