"""One pixel's gradient: by hand, by Captum, through resize and crop; the model is left as it was found."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from icnn_core.errors import (
    ArgumentError,
    DeviceError,
    DtypeError,
    NameNotFoundError,
    ShapeError,
    UnsupportedError,
)
from icnn_core.preparation import Preparation
from icnn_viz.gradients import IMAGENET_MEAN, IMAGENET_STD, METHODS, Target, batch_gradients, pixel_gradient
from icnn_viz.gradients import pixel_gradients as gradients_of
from icnn_viz.gradients.model import NetworkView

HEIGHT, WIDTH, CLASSES = 13, 17, 4
PIXEL = (5, 11)


class Net(nn.Module):
    """Convolutions, norm, pooling, dropout; logits on the input's pixels. `relu`: how ReLUs are spelt."""

    def __init__(self, relu: str = "module") -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, (3, 5), padding=(1, 2))
        self.norm = nn.BatchNorm2d(6)
        self.relu = nn.ReLU(inplace=relu == "inplace module")
        self.second = nn.Conv2d(6, 15, 3, padding=1)
        self.relu2 = nn.ReLU()
        self.drop = nn.Dropout(0.5)
        self.last = nn.Conv2d(15, CLASSES, 1)
        self.spelling = relu

    def activate(self, x: torch.Tensor) -> torch.Tensor:
        match self.spelling:
            case "functional":
                return F.relu(x)
            case "inplace functional":
                F.relu(x, inplace=True)
                return x
            case "method":
                return x.relu()
            case "inplace method":
                x.relu_()
                return x
            case "clamp":
                return x.clamp(min=0)
            case "gelu":
                return F.gelu(x)
        return self.relu(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(self.activate(self.norm(self.first(x))), 2)
        x = self.drop(self.relu2(self.second(x)))
        return F.interpolate(self.last(x), (HEIGHT, WIDTH), mode="bilinear", align_corners=False)


def make_net(relu: str = "module") -> Net:
    torch.manual_seed(3)
    net = Net(relu)
    with torch.no_grad():
        net.norm.running_mean.uniform_(-0.1, 0.1)
        net.norm.running_var.uniform_(0.5, 1.5)
    return net.eval()


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def normalised(image: np.ndarray) -> torch.Tensor:
    x = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    return (x - torch.tensor(IMAGENET_MEAN)[:, None, None]) / torch.tensor(IMAGENET_STD)[:, None, None]


def test_hand_worked_net() -> None:
    """One 1×3 convolution: the gradient is its weights around the pixel, zero elsewhere."""
    net = nn.Conv2d(3, 2, (1, 3), padding=(0, 1), bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.arange(18.0).reshape(2, 3, 1, 3))
    image = np.full((4, 6, 3), 100, np.uint8)
    record = pixel_gradient(
        net, image, (2, 4), class_id=1, classes=("a", "b"), network="mine", mean=(0, 0, 0), std=(1, 1, 1)
    )
    expected = np.zeros((3, 4, 6), np.float32)
    expected[:, 2, 3:6] = np.arange(9, 18).reshape(3, 3)
    np.testing.assert_array_equal(record.gradient, expected)
    assert record.logit == pytest.approx(100 / 255 * np.arange(9, 18).sum())
    assert (record.class_name, record.network, record.pixel) == ("b", "mine", (2, 4))
    assert record.prediction.shape == (4, 6)
    assert (record.prediction == 1).all()
    assert not record.notes


def test_predicted_class_and_finite_differences(image: np.ndarray) -> None:
    net = make_net().double()
    record = pixel_gradient(net, image, PIXEL)
    with torch.no_grad():
        logits = net(normalised(image).double())[0]
    np.testing.assert_array_equal(record.prediction, logits.argmax(0).numpy())
    assert record.class_id == record.prediction[PIXEL]
    assert record.logit == pytest.approx(float(logits[record.class_id, *PIXEL]))
    x, step = normalised(image).double(), 1e-6
    with torch.no_grad():
        base = float(net(x)[0, record.class_id, *PIXEL])
    for channel, y, column in [(0, 5, 11), (2, 4, 9), (1, 7, 12)]:
        bumped = x.clone()
        bumped[0, channel, y, column] += step
        with torch.no_grad():
            difference = float(net(bumped)[0, record.class_id, *PIXEL]) - base
        assert record.gradient[channel, y, column] == pytest.approx(difference / step, rel=1e-4, abs=1e-7)


@pytest.mark.filterwarnings("ignore:Setting .*hooks:UserWarning")
@pytest.mark.parametrize(
    ("method", "name", "options"),
    [
        ("gradient", "Saliency", {"abs": False}),
        ("gradient*input", "InputXGradient", {}),
        ("deconvnet", "Deconvolution", {}),
        ("guided", "GuidedBackprop", {}),
        ("integrated", "IntegratedGradients", {"n_steps": 50, "internal_batch_size": 10}),
    ],
)
def test_equals_captum(image: np.ndarray, method: str, name: str, options: dict[str, object]) -> None:
    attr = pytest.importorskip("captum.attr")
    net = make_net()
    record = pixel_gradient(net, image, PIXEL, class_id=1, method=method)
    x = normalised(image).requires_grad_()
    expected = getattr(attr, name)(net).attribute(x, target=(1, *PIXEL), **options)[0].detach()
    assert expected.abs().max() > 5e-3
    np.testing.assert_allclose(record.gradient, expected.numpy(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    "spelling", ["functional", "inplace module", "inplace functional", "method", "inplace method", "clamp"]
)
@pytest.mark.parametrize("method", ["deconvnet", "guided"])
def test_any_spelling_of_relu(image: np.ndarray, spelling: str, method: str) -> None:
    expected = pixel_gradient(make_net(), image, PIXEL, class_id=1, method=method).gradient
    plain = pixel_gradient(make_net(), image, PIXEL, class_id=1)
    found = pixel_gradient(make_net(spelling), image, PIXEL, class_id=1, method=method)
    np.testing.assert_allclose(found.gradient, expected, atol=1e-7)
    assert found.logit == plain.logit
    assert np.abs(found.gradient - plain.gradient).max() > 1e-3


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize("method", ["deconvnet", "guided"])
def test_what_hides_a_relu_is_refused(image: np.ndarray, method: str) -> None:
    with pytest.raises(UnsupportedError, match=r"^not supported: .*gelu"):
        pixel_gradient(make_net("gelu"), image, PIXEL, method=method)
    with pytest.raises(UnsupportedError, match="no ReLU was met"):
        pixel_gradient(nn.Conv2d(3, 2, 1), image, PIXEL, method=method)
    scripted = torch.jit.script(nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU()))
    with pytest.raises(UnsupportedError, match="scripted or compiled"):
        pixel_gradient(scripted, image, PIXEL, method=method)
    with pytest.raises(UnsupportedError, match="scripted or compiled"):
        pixel_gradient(nn.Sequential(torch.compile(make_net())), image, PIXEL, method=method)


def test_integrated_gradients_add_up(image: np.ndarray) -> None:
    net = make_net()
    record = pixel_gradient(net, image, PIXEL, class_id=0, method="integrated")
    with torch.no_grad():
        at_mean = float(net(torch.zeros(1, 3, HEIGHT, WIDTH))[0, 0, *PIXEL])
    assert record.gradient.sum() == pytest.approx(record.logit - at_mean, rel=0.02)


def test_smoothgrad_is_seeded_and_is_the_gradient_of_a_linear_net(image: np.ndarray) -> None:
    net = make_net()
    first, again, other = (
        pixel_gradient(net, image, PIXEL, method="smoothgrad", seed=s).gradient for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0
    linear = nn.Conv2d(3, 2, 3, padding=1)
    smooth, plain = (
        pixel_gradient(linear, image, PIXEL, class_id=0, method=m).gradient
        for m in ("smoothgrad", "gradient")
    )
    np.testing.assert_allclose(smooth, plain, atol=1e-6)


def test_targets(image: np.ndarray) -> None:
    net = make_net()
    one, three = (pixel_gradient(net, image, PIXEL, class_id=c).gradient for c in (1, 3))
    difference = pixel_gradient(net, image, Target(PIXEL, class_id=1, against=3))
    np.testing.assert_allclose(difference.gradient, one - three, atol=1e-6)
    assert difference.followed == "“1” minus “3”"
    with pytest.raises(ArgumentError, match="twice"):
        pixel_gradient(net, image, Target(PIXEL, against=int(difference.prediction[PIXEL])))
    pixels = [(y, x) for y in (4, 5) for x in (9, 10, 11)]
    total = sum(record.gradient for record in gradients_of(net, image, pixels, class_id=1))
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[4:6, 9:12] = True
    for region in ((4, 9, 6, 12), mask):
        record = pixel_gradient(net, image, PIXEL, class_id=1, region=region)
        np.testing.assert_allclose(record.gradient, total, atol=1e-6)
        assert "sum over 6 pixels" in record.target


def test_component_is_the_connected_part_of_the_predicted_class() -> None:
    net = nn.Conv2d(3, 2, 1)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 2.0, 0]])[:, :, None, None])
        net.bias.zero_()
    image = np.zeros((5, 7, 3), np.uint8)
    image[..., 0] = 200
    image[1:3, 1:4] = image[4, 5] = (0, 200, 0)  # two parts of class 1; the pixel lies in the first
    record = pixel_gradient(net, image, (2, 2), region="component", mean=(0, 0, 0), std=(1, 1, 1))
    expected = np.zeros((3, 5, 7), np.float32)
    expected[1, 1:3, 1:4] = 2
    np.testing.assert_array_equal(record.gradient, expected)


def test_resize_and_crop_are_differentiated_exactly(image: np.ndarray) -> None:
    """Odd sizes: the record equals automatic differentiation of the whole way, written out here."""
    net = nn.Conv2d(3, 3, 3, padding=1).double()
    crop, size, pixel = (1, 2, 11, 13), (7, 9), (6, 10)
    record = pixel_gradient(net, image, pixel, class_id=2, crop=crop, size=size)
    assert record.scale == pytest.approx((11 / 7, 13 / 9))
    fitted = {way: NetworkView(Preparation(divisor=32, fit=way)).scale(100, 170) for way in ("pad", "resize")}
    assert fitted == {"pad": (1, 1), "resize": (100 / 96, 170 / 160)}
    x = normalised(image).double().requires_grad_()
    seen = F.interpolate(x[..., 1:12, 2:15], size, mode="bilinear", align_corners=False, antialias=True)
    logits = F.interpolate(net(seen), (11, 13), mode="bilinear", align_corners=False)
    logits[0, 2, 5, 8].backward()
    np.testing.assert_allclose(record.gradient, x.grad[0].numpy(), atol=1e-7)
    assert record.gradient.shape == (3, HEIGHT, WIDTH)
    assert not record.gradient[:, 0].any()
    inside = record.prediction[1:12, 2:15]
    np.testing.assert_array_equal(inside, logits[0].argmax(0).numpy())
    assert (record.prediction[0] == -1).all()
    assert not record.notes
    energy = (record.gradient**2).sum(0)
    centroid = [float((energy * at).sum() / energy.sum()) for at in np.indices(energy.shape)]
    np.testing.assert_allclose(centroid, pixel, atol=1)


def test_coarse_logits_are_upsampled_and_said(image: np.ndarray) -> None:
    net = nn.Conv2d(3, 2, 3, stride=2, padding=1)
    record = pixel_gradient(net, image, PIXEL)
    assert record.notes == ("logits of 7 × 9 upsampled bilinearly to 13 × 17",)

    class Dictionary(nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"out": net(x), "aux": x}

    np.testing.assert_array_equal(pixel_gradient(Dictionary(), image, PIXEL).gradient, record.gradient)
    stretched = pixel_gradient(nn.Conv2d(3, 2, 1), image, PIXEL, size=(13, 13))
    assert stretched.notes == ("stretched from 13 × 17 to 13 × 13 for the network",)


def test_a_logit_without_a_rival_is_told():
    image = np.zeros((6, 7, 3), np.uint8)
    alone = pixel_gradient(nn.Conv2d(3, 1, 3, padding=1), image, Target((2, 3)))
    assert alone.predicted_name == "0"
    assert alone.notes == (
        "one logit alone, so class 0 is predicted everywhere: two classes must be known to it",
    )
    two = pixel_gradient(nn.Conv2d(3, 1, 3, padding=1), image, Target((2, 3)), classes=("rest", "cat"))
    assert not two.notes


def test_pixels_share_one_forward_pass_and_batches_equal_single_images(image: np.ndarray) -> None:
    net, passes = make_net(), []
    net.register_forward_hook(lambda *_: passes.append(1))
    pixels = [(0, 0), PIXEL, (12, 3)]
    together = gradients_of(net, image, pixels)
    assert len(passes) == 1
    alone = [pixel_gradient(net, image, pixel) for pixel in pixels]
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(a.gradient, b.gradient, atol=1e-6)
        assert a.class_id == b.class_id
    other = image[::-1].copy()
    targets = [[Target(p) for p in pixels], [Target((2, 8), class_id=3)]]
    for method in METHODS:
        batch = batch_gradients(net, np.stack([image, other]), targets, method=method)
        assert [len(b) for b in batch] == [3, 1]
        if method != "smoothgrad":  # whose noise is drawn for the batch as a whole
            expected = pixel_gradient(net, other, (2, 8), class_id=3, method=method).gradient
            np.testing.assert_allclose(batch[1][0].gradient, expected, atol=1e-6)


def assert_same_state(net: nn.Module, before: dict[str, object]) -> None:
    assert [m.training for m in net.modules()] == before["training"]
    assert [p.requires_grad for p in net.parameters()] == before["requires_grad"]
    for p, grad in zip(net.parameters(), before["grads"], strict=True):
        assert (p.grad is None) == (grad is None)
        if grad is not None:
            assert torch.equal(p.grad, grad)
    state = net.state_dict()
    assert all(torch.equal(state[k], v) for k, v in before["state"].items())
    hooks = [
        len(m._forward_hooks) + len(m._backward_hooks) + len(m._forward_pre_hooks) for m in net.modules()
    ]
    assert hooks == before["hooks"]


def test_a_net_that_works_in_place_on_its_input(image: np.ndarray) -> None:
    conv = nn.Conv2d(3, 2, 1)
    record = pixel_gradient(nn.Sequential(nn.ReLU(inplace=True), conv), image, PIXEL, class_id=1)
    expected = conv.weight[1, :, 0, 0] * (normalised(image)[0, :, *PIXEL] > 0)
    np.testing.assert_array_equal(record.gradient[:, *PIXEL], expected.detach().numpy())


def state_of(net: nn.Module) -> dict[str, object]:
    return {
        "training": [m.training for m in net.modules()],
        "requires_grad": [p.requires_grad for p in net.parameters()],
        "grads": [None if p.grad is None else p.grad.clone() for p in net.parameters()],
        "state": copy.deepcopy(net.state_dict()),
        "hooks": [
            len(m._forward_hooks) + len(m._backward_hooks) + len(m._forward_pre_hooks) for m in net.modules()
        ],
    }


@pytest.mark.parametrize("method", METHODS)
def test_model_is_left_as_found(image: np.ndarray, method: str) -> None:
    net = make_net("inplace functional").train()
    net.norm.eval()
    net.first.bias.requires_grad_(False)
    net(normalised(image).repeat(2, 1, 1, 1)).sum().backward()
    before = state_of(net)
    with torch.no_grad():
        record = pixel_gradient(net, image, PIXEL, method=method)
    assert_same_state(net, before)
    expected = pixel_gradient(copy.deepcopy(net).eval(), image, PIXEL, method=method)
    np.testing.assert_array_equal(record.gradient, expected.gradient)


def test_model_is_left_as_found_after_an_exception(image: np.ndarray) -> None:
    net = make_net().train()
    before = state_of(net)

    def fail(*_: object) -> None:
        raise RuntimeError("broken layer")

    handle = net.last.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="broken layer"):
        pixel_gradient(net, image, PIXEL, method="guided")
    handle.remove()
    assert_same_state(net, before)
    with pytest.raises(NameNotFoundError):
        pixel_gradient(net, image, PIXEL, class_id=CLASSES)
    assert_same_state(net, before)


def test_frozen_parameters_inference_mode_and_bfloat16(image: np.ndarray) -> None:
    net = make_net().requires_grad_(False)
    expected = pixel_gradient(net, image, PIXEL, class_id=1).gradient
    with torch.inference_mode():
        found = pixel_gradient(net, image, PIXEL, class_id=1).gradient
    np.testing.assert_array_equal(found, expected)
    half = pixel_gradient(net.bfloat16(), image, PIXEL, class_id=1).gradient
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, expected, atol=0.05 * np.abs(expected).max())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu(image: np.ndarray) -> None:
    expected = pixel_gradient(make_net(), image, PIXEL, class_id=1).gradient
    found = pixel_gradient(make_net().cuda(), image, PIXEL, class_id=1, device="cuda").gradient
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_bad_input_is_refused_in_words(image: np.ndarray) -> None:
    net = make_net()
    with pytest.raises(ArgumentError, match=r"y in 0…12 and x in 0…16; got y = 13, x = 0"):
        pixel_gradient(net, image, (13, 0))
    with pytest.raises(ArgumentError, match="y = -1"):
        pixel_gradient(net, image, (-1, 0))
    with pytest.raises(ArgumentError, match="y in 2…5"):
        pixel_gradient(nn.Conv2d(3, 2, 1), image, (1, 3), crop=(2, 3, 4, 5))
    with pytest.raises(ArgumentError, match="crop"):
        pixel_gradient(net, image, (1, 3), crop=(2, 3, 40, 5))
    with pytest.raises(NameNotFoundError, match="from 0 to 3; got 4"):
        pixel_gradient(net, image, PIXEL, class_id=1, against=4)
    with pytest.raises(NameNotFoundError, match="Did you mean guided"):
        pixel_gradient(net, image, PIXEL, method="guide")
    with pytest.raises(ArgumentError, match="empty region"):
        pixel_gradient(net, image, PIXEL, region=(5, 5, 5, 9))
    with pytest.raises(ShapeError, match="mask"):
        pixel_gradient(net, image, PIXEL, region=np.ones((3, 3), bool))
    with pytest.raises(ShapeError, match=r"images of 3 channels.*got 2 channels"):
        pixel_gradient(net, image[..., :2], PIXEL)
    with pytest.raises(
        DtypeError, match=r"numbers from 0 to 1, for ImageNet's mean and std; got torch\.float64"
    ):
        pixel_gradient(net, image * 1.0, PIXEL)
    with pytest.raises(DtypeError, match="finite real numbers"):
        pixel_gradient(net, image * np.nan, PIXEL)
    with pytest.raises(ShapeError, match="logits per pixel"):
        pixel_gradient(nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten()), image, PIXEL)
    with pytest.raises(DeviceError, match="meta"):
        pixel_gradient(net, image, PIXEL, device="meta")


def test_an_output_without_gradient_and_inference_parameters_are_refused(image: np.ndarray) -> None:
    class Detached(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.detach()

    with pytest.raises(ArgumentError, match="without a gradient"):
        pixel_gradient(Detached(), image, PIXEL)
    with torch.inference_mode():
        net = nn.Conv2d(3, 2, 1)
    with pytest.raises(ArgumentError, match="inference_mode"):
        pixel_gradient(net, image, PIXEL)


@pytest.mark.parametrize(
    ("size", "shape"), [((30, 44), (61, 53)), ((90, 70), (61, 53)), ((61, 53), (61, 53))]
)
def test_the_logit_that_is_differentiated_is_the_one_that_is_measured(size, shape):
    """One way in and one way back, whatever sizes the image, the network's input and its logits have."""
    from icnn_core.datasets.transforms import EvalTransform
    from icnn_core.evaluation import predict_logits

    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 5, stride=4), nn.ReLU(), nn.Conv2d(4, 3, 1)).eval()
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    seen, labels = EvalTransform(size)(
        torch.from_numpy(image).permute(2, 0, 1), torch.zeros(shape, dtype=torch.int64)
    )
    with torch.no_grad():
        measured = predict_logits(network, seen, size=tuple(labels.shape))
    for pixel in ((0, 0), (33, 20), (60, 52)):
        found = pixel_gradient(network, image, pixel, size=size)
        assert found.class_id == measured[:, *pixel].argmax()
        assert found.logit == pytest.approx(measured[:, *pixel].max().item(), abs=1e-6)
    assert (found.prediction == measured.argmax(0).numpy()).all()
