"""Logits in what other people's networks return."""

from __future__ import annotations

import functools
from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from icnn_core.errors import ShapeError
from icnn_core.evaluation import predict_logits
from icnn_core.evaluation.calling import segment, to_logits
from icnn_core.preparation import Preparation
from icnn_core.training.loss import Objective

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


def test_which_output_is_taken_is_told_once_where_it_is_trained_and_measured(caplog):
    class Heads(nn.Module):
        def forward(self, x):
            return x, 2 * x

    for call in ("train", "evaluate"):
        network = Heads()
        caplog.clear()
        for _ in range(2):
            if call == "train":
                Objective(network, torch.ones(3), 255)(LOGITS, torch.zeros(2, 5, 4), torch.tensor(1.0))
            else:
                predict_logits(network, LOGITS[0], preparation=Preparation())
        assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
            f"{call}: the first of 2 outputs of the network (--output 1 is the second)"
        ]


def test_a_networks_own_word_on_multiples_is_told_as_one_on_sizes():
    class Wants(nn.Module):
        def forward(self, x):
            raise ValueError(f"takes multiples of 32, got {x.shape[-1]}")

    with pytest.raises(ShapeError, match="--divisor 32"):
        segment(Wants(), LOGITS)


@pytest.mark.parametrize("wanted", [{"classes": 2}, {"binary": True}])
def test_one_logit_is_the_foregrounds_and_its_negation_the_backgrounds(wanted):
    both = to_logits(LOGITS[:, :1], **wanted)
    assert both.shape == (2, 2, 5, 4)
    assert torch.equal(both[:, 1], LOGITS[:, 0])
    assert torch.equal(both[:, 0], -LOGITS[:, 0])
    assert torch.equal(both.argmax(1).bool(), LOGITS[:, 0] > 0)
    assert to_logits(LOGITS[:, :1]).shape[1] == 1, "of which nothing is said"
    assert to_logits(LOGITS, binary=True).shape[1] == 3


def test_the_softmax_of_halved_logits_is_the_sigmoid_of_one():
    one = 3 * LOGITS[:, :1]
    probability = to_logits(one, 2, halved=True).softmax(1)[:, 1:]
    torch.testing.assert_close(probability, one.sigmoid())
    assert torch.equal(to_logits(LOGITS, 3, halved=True), LOGITS)


@pytest.mark.parametrize(
    ("shape", "classes", "is_told"),
    [
        ((2, 40, 56, 5), 5, True),  # by the number of classes
        ((2, 40, 56, 5), None, True),  # by the images' sides
        ((2, 10, 14, 1), None, True),
        ((2, 10, 14, 1), 2, True),
        ((2, 10, 14, 9), 9, True),
        ((2, 5, 40, 56), None, False),
        ((2, 20, 28, 44), None, False),  # the sides of a kernel's borders are missing
        ((2, 40, 20, 28), None, False),
        ((2, 21, 10, 28), None, False),  # rows are read more coarsely than columns
        ((2, 5, 10, 14), 5, False),
        ((2, 5, 5, 5), 5, False),
        ((2, 1, 5, 7), 2, False),
    ],
)
def test_logits_with_classes_last_are_told_and_not_taken_for_rows(shape, classes, is_told):
    """Rows of an image taken for classes would give heatmaps that look right."""
    call = functools.partial(to_logits, torch.zeros(shape), classes, batch=2, size=(40, 56), binary=True)
    if not is_told:
        assert call().shape[-2:] == shape[-2:]
        return
    words = rf"got a tensor of shape \({', '.join(map(str, shape))}\)\. They look like \(N, H, W, C\)"
    with pytest.raises(ShapeError, match=words + r".*permute\(0, 3, 1, 2\)"):
        call()


def test_segment_tells_classes_last_by_what_the_network_saw():
    class Last(nn.Module):
        def forward(self, x):
            return x[:, :, ::2, ::2].repeat(1, 2, 1, 1).permute(0, 2, 3, 1)

    with pytest.raises(ShapeError, match="permute"):
        segment(Last(), torch.zeros(1, 3, 30, 44), Preparation(divisor=16))


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (torch.zeros(2, 5, 4), r"logits\[:, None\]"),
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
