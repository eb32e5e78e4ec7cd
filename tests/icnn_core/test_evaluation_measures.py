"""Measures: torchmetrics and other implementations as oracles, cases worked by hand, and void, which never counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import binary_erosion
from torch import nn
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from icnn_core.datasets.registry import open_dataset
from icnn_core.errors import ArgumentError, DataError, DtypeError, NameNotFoundError
from icnn_core.evaluation import Evaluation, choose_classes, confusion_matrix, evaluate
from icnn_core.evaluation.boundaries import count_boundaries, no_boundaries
from icnn_core.evaluation.palette_png import write_palette_png

VOID = 255


def blobs(shape, classes, seed, void=0.0):
    """Labels in patches, with some void."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, classes, (shape[0] // 7 + 1, shape[1] // 5 + 1))
    labels = np.kron(coarse, np.ones((7, 5), int))[: shape[0], : shape[1]]
    labels[rng.random(shape) < void] = VOID
    return labels


def measure(pairs, classes, **options):
    """An Evaluation of given predictions: the image carries its prediction in its red channel."""

    class Told(nn.Module):
        def forward(self, x):
            return nn.functional.one_hot(x[:, 0].long(), classes).permute(0, 3, 1, 2).float()

    samples = [
        (torch.from_numpy(np.stack([p] * 3)).float(), torch.from_numpy(labels).long()) for labels, p in pairs
    ]
    names = tuple(f"c{i}" for i in range(classes))
    return evaluate(Told(), samples, classes=names, ignore_index=VOID, **options)


def check_against_torchmetrics(pairs, classes):
    result = measure(pairs, classes)
    jaccard = MulticlassJaccardIndex(classes, average="none", ignore_index=VOID, zero_division=-1)
    macro = MulticlassJaccardIndex(classes, average="macro", ignore_index=VOID)
    accuracy = MulticlassAccuracy(classes, average="micro", ignore_index=VOID)
    for labels, prediction in pairs:
        for metric in (jaccard, macro, accuracy):
            metric.update(torch.from_numpy(prediction)[None], torch.from_numpy(labels)[None])
    theirs = {f"c{i}": v for i, v in enumerate(jaccard.compute().tolist()) if v >= 0}
    assert result.iou == pytest.approx(theirs, abs=1e-6)
    assert result.mean_iou == pytest.approx(macro.compute().item(), abs=1e-6)
    assert result.pixel_accuracy == pytest.approx(accuracy.compute().item(), abs=1e-6)
    return result


def test_iou_equals_torchmetrics_on_random_labels():
    pairs = [(blobs((33, 41), 6, i, 0.2), blobs((33, 41), 5, 10 + i)) for i in range(3)]
    assert set(check_against_torchmetrics(pairs, 7).iou) == {f"c{i}" for i in range(6)}


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "folder", "split"), [("camvid", "camvid", "val"), ("voc", "voc12_animals", "val")]
)
def test_iou_equals_torchmetrics_on_real_labels(data_dir, name, folder, split):
    """Predictions are the labels of this image, moved by some pixels: most is right, and edges are not."""
    data = open_dataset(name, data_dir / folder, split)
    pairs = []
    for index in range(0, 40, 10):
        labels = data[index][1].numpy()
        prediction = np.roll(labels, (3, -5), (0, 1))
        pairs.append((labels, np.where(prediction == VOID, 0, prediction)))
    assert 0.1 < check_against_torchmetrics(pairs, len(data.classes)).mean_iou < 0.95


def test_what_is_predicted_in_void_changes_nothing():
    labels = blobs((40, 52), 4, 1, 0.1)
    labels[10:20, 10:30] = VOID
    first = blobs((40, 52), 4, 2)
    second = np.where(labels == VOID, blobs((40, 52), 4, 3), first)
    assert (first != second).any()
    one, other = (measure([(labels, p)], 4, boundary=0.05) for p in (first, second))
    assert np.array_equal(one.confusion, other.confusion)
    assert one.boundary_iou == other.boundary_iou
    perfect = measure([(labels, np.where(labels == VOID, 3, labels))], 4, boundary=0.05)
    assert set(perfect.iou.values()) == set(perfect.boundary_iou.values()) == {1.0}


def reference_boundary_iou(pairs, label, ratio):
    """As the reference defines it: a mask minus its erosion by as many 3×3 steps as the band is wide."""
    counts = np.zeros(2, int)
    for labels, prediction in pairs:
        width = max(1, round(ratio * math.hypot(*labels.shape)))
        bands = []
        for ids in (labels, prediction):
            mask = (ids == label) & (labels != VOID)
            bands.append(mask & ~binary_erosion(mask, np.ones((3, 3)), iterations=width, border_value=0))
        counts += (bands[0] & bands[1]).sum(), (bands[0] | bands[1]).sum()
    return counts[0] / counts[1]


@pytest.mark.parametrize(("ratio", "void"), [(0.02, 0.0), (0.02, 0.01), (0.06, 0.002)])
def test_boundary_iou_is_the_references_pooled_over_images(ratio, void):
    shapes = [(60, 83), (47, 90)]
    pairs = [
        (np.kron(blobs(s, 4, i), np.ones((3, 3), int))[: s[0], : s[1]], None) for i, s in enumerate(shapes)
    ]
    rng = np.random.default_rng(0)
    pairs = [(np.where(rng.random(a.shape) < void, VOID, a), np.roll(a, (1, 2), (0, 1))) for a, _ in pairs]
    result = measure(pairs, 5, boundary=ratio)
    for label in range(4):
        want = reference_boundary_iou(pairs, label, ratio)
        assert result.boundary_iou[f"c{label}"] == pytest.approx(want)
    assert "c4" not in result.boundary_iou
    assert result.mean_boundary_iou == pytest.approx(np.mean(list(result.boundary_iou.values())))


def test_boundary_iou_worked_by_hand():
    """Two squares of 6 × 6, one row apart, in bands one pixel wide: rings that share their long sides but a pixel."""
    labels, prediction = np.zeros((2, 12, 13), int)
    labels[2:8, 3:9] = 1
    prediction[3:9, 3:9] = 1
    counts = count_boundaries(labels, prediction, 2, VOID, ratio=0.05)
    # each ring holds 20 pixels; columns 3 and 8 agree in rows 3 to 7: 10 pixels
    assert (counts.intersection[1], counts.union[1]) == (10, 30)
    twice = counts + counts + no_boundaries(2)
    assert (twice.intersection[1], twice.union[1]) == (20, 60)


def test_thin_things_are_band_through_and_through():
    labels, prediction = np.zeros((2, 90, 120), int)
    labels[:, 50:53] = prediction[:, 51:54] = 1
    result = measure([(labels, prediction)], 2, boundary=0.02)
    assert result.boundary_iou["c1"] == pytest.approx(result.iou["c1"]) == 0.5
    assert result.boundary_iou["c0"] < result.iou["c0"]


@pytest.mark.parametrize("ratio", [0.0, -1.0, 1.5, float("nan")])
def test_bands_that_make_no_sense_are_refused(ratio):
    with pytest.raises(ArgumentError, match="dilation ratio"):
        count_boundaries(np.zeros((3, 4), int), np.zeros((3, 4), int), 2, VOID, ratio)


def test_means_over_chosen_classes_and_what_is_left_out():
    confusion = np.array([[8, 2, 0, 0], [0, 6, 0, 0], [0, 0, 0, 0], [4, 0, 0, 4]])
    names = ("ground", "cat", "never", "dog")
    whole = Evaluation(confusion, names)
    assert whole.iou == pytest.approx({"ground": 8 / 14, "cat": 6 / 8, "dog": 0.5})
    assert whole.mean_iou == pytest.approx((8 / 14 + 6 / 8 + 0.5) / 3)
    assert (whole.averaged, whole.absent) == (("ground", "cat", "dog"), ("never",))
    assert whole.mean_boundary_iou is None
    some = Evaluation(confusion, names, chosen=("cat", "never", "dog"))
    assert some.mean_iou == pytest.approx((6 / 8 + 0.5) / 2)
    assert (some.averaged, some.absent) == (("cat", "dog"), ("never",))
    assert some.pixel_accuracy == whole.pixel_accuracy == 18 / 24
    assert Evaluation(np.zeros((4, 4), int), names).mean_iou == 0.0


def test_a_class_that_is_only_predicted_counts_as_0():
    result = measure([(np.zeros((3, 5), int), np.eye(3, 5, dtype=int))], 3)
    assert result.iou == pytest.approx({"c0": 12 / 15, "c1": 0.0})


def test_classes_are_chosen_by_name_or_id():
    names = ("background", "cat", "Dog", "10")
    assert choose_classes(["dog", "0"], names) == ("background", "Dog")
    assert choose_classes([], names) == ()
    assert choose_classes(["10"], names) == ("10",)
    for text, said in (("Dgo", "Did you mean Dog"), ("4", "from 0 to 3"), ("-1", "from 0"), ("", "names")):
        with pytest.raises(NameNotFoundError, match=said):
            choose_classes([text], names)


def test_confusion_counts_rows_as_labels():
    labels = torch.tensor([[0, 0, 2], [1, VOID, 2]])
    predictions = torch.tensor([[0, 1, 2], [0, 2, 1]])
    assert confusion_matrix(labels, predictions, 3, VOID).tolist() == [[1, 1, 0], [1, 0, 0], [0, 1, 1]]


def test_palette_pictures_hold_the_numbers_of_a_data_sets_own_masks(tmp_path):
    ids = np.array([[0, 1, 2], [2, 1, 1]])
    path = write_palette_png(tmp_path / "a.png", ids, [(1, 2, 3), (40, 50, 60), (200, 0, 9)], (7, 33, 0))
    with Image.open(path) as picture:
        assert np.asarray(picture).tolist() == [[7, 33, 0], [0, 33, 33]]
        colours = picture.convert("RGB")
        assert [colours.getpixel((x, 0)) for x in range(3)] == [(1, 2, 3), (40, 50, 60), (200, 0, 9)]


def test_palette_pictures_keep_ids_and_show_colours(tmp_path):
    ids = blobs((9, 14), 3, 0)
    path = write_palette_png(tmp_path / "new" / "a.b.png", ids, [(1, 2, 3), (40, 50, 60), (200, 0, 9)])
    with Image.open(path) as picture:
        assert picture.mode == "P"
        assert np.array_equal(np.asarray(picture), ids)
        assert picture.convert("RGB").getpixel((13, 8)) == [(1, 2, 3), (40, 50, 60), (200, 0, 9)][ids[8, 13]]
    with pytest.raises(ArgumentError, match="256"):
        write_palette_png(path, ids + 255, [(0, 0, 0)])
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="can be written"):
        write_palette_png(tmp_path / "file" / "a.png", ids, [(0, 0, 0)])


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.int32])
def test_labels_of_every_integer_type_count_alike(dtype):
    """21 classes: 20 · 21 + 20 has no room in 8 bits."""
    labels = blobs((63, 55), 21, 4)
    wrong = np.where(labels == 3, 20, labels)
    for prediction, iou in ((labels, 1.0), (wrong, 0.0)):
        arrays = labels.astype(dtype), prediction.astype(dtype)
        counts = confusion_matrix(*map(torch.from_numpy, arrays), 21, VOID)
        result = Evaluation(counts.numpy(), tuple(map(str, range(21))), count_boundaries(*arrays, 21, VOID))
        assert result.iou["3"] == result.boundary_iou["3"] == iou
        assert result.pixel_accuracy == np.mean(labels == prediction)
    assert counts.dtype == torch.int64


def test_what_is_no_class_is_refused_with_its_value():
    labels = np.array([[0, 1, 255], [2, 1, 0]])
    for wrong, said in ((3, "got 3"), (-1, "got -1")):
        spoilt = np.where(labels == 2, wrong, labels)
        for arrays in ((spoilt, labels), (np.where(labels == VOID, 0, labels), spoilt)):
            with pytest.raises(ArgumentError, match=said):
                confusion_matrix(*map(torch.from_numpy, arrays), 3, VOID)
            with pytest.raises(ArgumentError, match=said):
                count_boundaries(*arrays, 3, VOID)
    beside = np.where(labels == VOID, 77, labels)  # in void, where nothing counts
    assert confusion_matrix(*map(torch.from_numpy, (labels, beside)), 3, VOID).trace() == 5
    assert count_boundaries(labels, beside, 3, VOID).intersection.sum() == 5
    with pytest.raises(DtypeError, match="float64"):
        confusion_matrix(torch.from_numpy(labels / 1), torch.from_numpy(labels), 3, VOID)
