"""Logits in what other people's networks return."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from icnn_core.errors import ShapeError
from icnn_core.evaluation.calling import segment, to_logits
from icnn_core.preparation import Preparation

LOGITS = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))


@dataclass
class Semantic:
    """As transformers' SemanticSegmenterOutput."""

    logits: Tensor
    loss: Tensor | None = None


Named = namedtuple("Named", ["pred", "hidden"])


@pytest.mark.parametrize(
    "output",
    [
        LOGITS,
        (LOGITS, torch.zeros(2, 7)),
        [LOGITS, LOGITS[:, :, :2] * 0],
        OrderedDict(out=LOGITS, aux=LOGITS * 0),
        {"logits": LOGITS},
        {"pred": [LOGITS, LOGITS * 0]},
        {"sem_seg": LOGITS},
        Semantic(LOGITS),
        Named(LOGITS, None),
        ({"out": LOGITS}, "auxiliary"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_they_are_found(output):
    assert torch.equal(to_logits(output, 3, batch=2), LOGITS)


def test_another_name_is_given():
    output = {"main_head": LOGITS, "out": LOGITS * 0}
    assert torch.equal(to_logits(output, key="main_head"), LOGITS)
    with pytest.raises(ShapeError, match=r'under "head"; got dict with main_head, out'):
        to_logits(output, key="head")


@pytest.mark.parametrize(
    ("output", "key"),
    [
        ((LOGITS * 0, LOGITS), "1"),
        ([LOGITS * 0, LOGITS], "-1"),
        ({"heads": [LOGITS * 0, LOGITS]}, "heads.1"),
        ({"decode": Semantic(LOGITS)}, "decode.logits"),
        ({"a.b": LOGITS}, "a.b"),
    ],
)
def test_a_number_or_a_way_is_given(output, key):
    assert torch.equal(to_logits(output, key=key), LOGITS)
    with pytest.raises(ShapeError, match="--output KEY"):
        to_logits(output, key=f"{key}9")


def test_of_several_outputs_the_first_is_taken_and_that_is_said():
    """Some networks return an auxiliary head first."""

    class Heads(nn.Module):
        def forward(self, x):
            return x, 2 * x, x.mean((2, 3))

    logits, notes = segment(Heads(), LOGITS)
    assert torch.equal(logits, LOGITS)
    assert notes == ("the first of 2 outputs of the network (--output 1 is the second)",)
    logits, notes = segment(Heads(), LOGITS, Preparation(output="1"))
    assert torch.equal(logits, 2 * LOGITS)
    assert notes == ()


@pytest.mark.parametrize("wanted", [{"classes": 2}, {"binary": True}])
def test_one_logit_is_the_foregrounds_and_its_negation_the_backgrounds(wanted):
    both = to_logits(LOGITS[:, :1], **wanted)
    assert both.shape == (2, 2, 5, 4)
    assert torch.equal(both[:, 1], LOGITS[:, 0])
    assert torch.equal(both[:, 0], -LOGITS[:, 0])
    assert torch.equal(both.argmax(1).bool(), LOGITS[:, 0] > 0)
    assert to_logits(LOGITS[:, :1]).shape[1] == 1, "of which nothing is said"
    assert to_logits(LOGITS, binary=True).shape[1] == 3


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (torch.zeros(2, 3), r"shape \(2, 3\)"),
        ({"features": LOGITS}, "dict with features"),
        ("text", "str"),
        ((), "tuple"),
        (LOGITS[:1], r"\(1, 3, 5, 4\)"),
        (LOGITS[:, :2], r"\(2, 2, 5, 4\)"),
    ],
)
def test_what_is_none_is_refused_and_said(output, said):
    with pytest.raises(ShapeError, match=said):
        to_logits(output, 3, batch=2)
