"""Networks by name and plain arguments."""

import json
from dataclasses import asdict

import pytest
import torch

from icnn_core.errors import ArgumentError, NameNotFoundError
from icnn_core.models.deeplab import deeplab_largefov
from icnn_core.models.registry import build_architecture


def test_a_network_carries_what_rebuilds_it():
    net = deeplab_largefov("tiny", 7, classifier_dilation=3, dropout=0.25).eval()
    stored = json.loads(json.dumps(asdict(net.architecture)))
    again = build_architecture(stored["name"], stored["arguments"]).eval()
    again.load_state_dict(net.state_dict())
    x = torch.randn(1, 3, 32, 40)
    assert torch.equal(net(x), again(x))
    assert again.architecture == net.architecture
    assert again.classifier.dropout.p == 0.25


@pytest.mark.parametrize(
    ("name", "arguments", "error", "said"),
    [
        ("deeplab_largefob", {}, NameNotFoundError, "deeplab_largefov"),
        ("os.system", {"command": "true"}, NameNotFoundError, "Known names"),
        ("deeplab_largefov", {"backbone": "tiny", "num_clases": 3}, ArgumentError, "num_classes"),
        ("deeplab_largefov", {"backbone": "tiny"}, ArgumentError, "needs num_classes"),
        ("deeplab_largefov", {"backbone": "tiny", "num_classes": "3"}, ArgumentError, "'3'"),
        ("deeplab_largefov", {"backbone": ["tiny"], "num_classes": 3}, NameNotFoundError, "tiny"),
        (
            "deeplab_largefov",
            {"backbone": "tiny", "num_classes": 3, "weights": "/x"},
            ArgumentError,
            "weights",
        ),
    ],
)
def test_what_cannot_be_built_is_named(name, arguments, error, said):
    with pytest.raises(error, match=said):
        build_architecture(name, arguments)
