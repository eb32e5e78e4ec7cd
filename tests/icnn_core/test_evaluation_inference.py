"""Windows, scales and mirroring: against whole images where they must agree, and cases worked by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.segmentation import fcn_resnet50

from icnn_core.errors import ArgumentError, ShapeError
from icnn_core.evaluation import Inference, evaluate, predict_logits
from icnn_core.evaluation.inference import window_starts


class Counting(nn.Module):
    """Gives each call's number as the logit of all its pixels, and remembers the sizes it saw."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def forward(self, x):
        self.sizes.append(tuple(x.shape[2:]))
        return torch.full((1, 1, *x.shape[2:]), float(len(self.sizes)))


@pytest.mark.parametrize(
    ("length", "window", "stride", "want"),
    [(10, 4, 3, [0, 3, 6]), (11, 4, 3, [0, 3, 6, 7]), (4, 4, 3, [0]), (3, 4, 2, [0]), (5, 4, 4, [0, 1])],
)
def test_windows_cover_an_axis_and_the_last_ends_at_its_end(length, window, stride, want):
    assert window_starts(length, window, stride) == want


def test_logits_are_averaged_where_windows_overlap():
    model = Counting()
    got = predict_logits(model, torch.zeros(3, 3, 7), Inference(window=(3, 4), stride=(3, 2)))
    # windows at columns 0, 2 and 3 give 1, 2 and 3
    want = [1, 1, 3 / 2, (1 + 2 + 3) / 3, 5 / 2, 5 / 2, 3]
    assert got.shape == (1, 3, 7)
    torch.testing.assert_close(got[0], torch.tensor(want).expand(3, 7))
    assert model.sizes == [(3, 4)] * 3


def test_a_network_that_sees_single_pixels_does_not_notice_windows():
    torch.manual_seed(0)
    model, image = nn.Conv2d(3, 4, 1), torch.randn(3, 29, 41)
    want = model(image[None])[0]
    for inference in (Inference(window=(13, 17)), Inference(window=(13, 50), stride=(13, 9))):
        torch.testing.assert_close(predict_logits(model, image, inference), want)


def test_windows_are_what_the_network_would_see_cut_out():
    torch.manual_seed(0)
    model, image = nn.Conv2d(3, 2, 5, padding=2), torch.randn(3, 12, 20)
    got = predict_logits(model, image, Inference(window=(12, 10), stride=(12, 10)))
    want = torch.cat([model(image[None, :, :, :10]), model(image[None, :, :, 10:])], 3)[0]
    torch.testing.assert_close(got, want)
    assert not torch.allclose(got, model(image[None])[0])


def test_the_default_stride_is_two_thirds():
    assert Inference(window=(713, 714)).steps == (475, 476)
    assert Inference().steps is None


def test_scales_are_averaged_and_resized_to_what_is_asked_for():
    model = Counting()
    got = predict_logits(model, torch.zeros(3, 8, 12), Inference(scales=(0.5, 1, 1.5)), size=(16, 20))
    assert model.sizes == [(4, 6), (8, 12), (12, 18)]
    assert got.shape == (1, 16, 20)
    assert got.unique().tolist() == [2.0]
    torch.manual_seed(0)
    model, image = nn.Conv2d(3, 2, 3, padding=1), torch.randn(3, 8, 12)
    larger = F.interpolate(image[None], (16, 24), mode="bilinear", align_corners=False)
    back = F.interpolate(model(larger), (8, 12), mode="bilinear", align_corners=False, antialias=True)
    got = predict_logits(model, image, Inference(scales=(1, 2)))
    torch.testing.assert_close(got, (model(image[None]) + back)[0] / 2)


def test_mirroring_averages_with_the_mirrored_image_mirrored_back():
    torch.manual_seed(0)
    model, image = nn.Conv2d(3, 2, 3, padding=1), torch.randn(3, 7, 9)
    got = predict_logits(model, image, Inference(flip=True))
    want = (model(image[None]) + model(image[None].flip(3)).flip(3))[0] / 2
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(got, predict_logits(model, image.flip(2), Inference(flip=True)).flip(2))


def test_all_together_count_their_calls():
    model = Counting()
    inference = Inference(window=(8, 8), scales=(1, 2), flip=True)
    predict_logits(model, torch.zeros(3, 8, 14), inference)
    # stride 5: columns 0, 5, 6; doubled: rows 0, 5, 8 and columns 0, 5, 10, 15, 20
    assert len(model.sizes) == 2 * (3 + 3 * 5)
    assert str(inference) == "windows of 8×8 every 5×5, scales 1, 2, mirrored too"
    assert str(Inference()) == "whole images"


def test_torchvisions_networks_give_their_logits_in_a_dictionary():
    torch.manual_seed(0)
    model = fcn_resnet50(weights=None, weights_backbone=None, num_classes=3, aux_loss=True).eval()
    image = torch.randn(3, 40, 48)
    with torch.no_grad():
        torch.testing.assert_close(predict_logits(model, image), model(image[None])["out"][0])
    with pytest.raises(ShapeError, match=r"\(1, 4, H, W\).*\(1, 3, 40, 48\)"):
        predict_logits(model, image, classes=4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window": (0, 5)}, "window of at least 1"),
        ({"stride": (3, 3)}, "Give the window"),
        ({"window": (5, 5), "stride": (3, 6)}, "nothing is left out"),
        ({"window": (5, 5), "stride": (0, 3)}, "stride from 1"),
        ({"scales": ()}, "scales"),
        ({"scales": (1, 0)}, "scales"),
        ({"scales": (float("nan"),)}, "scales"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, said):
    with pytest.raises(ArgumentError, match=said):
        Inference(**options)


def test_evaluation_resizes_logits_to_the_labels_keeps_the_mode_and_tells():
    model = nn.Sequential(nn.Conv2d(3, 2, 1)).train()
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.copy_(torch.tensor([0.0, 1.0]))
    told = []
    result = evaluate(
        model, [(torch.zeros(3, 4, 5), torch.ones(9, 7, dtype=torch.int64))] * 2, classes=("a", "b"),
        ignore_index=255, on_prediction=lambda index, ids: told.append((index, ids.shape, ids.min())),
        on_image=lambda: told.append("image"),
    )  # fmt: skip
    assert result.confusion.tolist() == [[0, 0], [0, 126]]
    assert model.training
    assert told == [(0, (9, 7), 1), "image", (1, (9, 7), 1), "image"]
