"""One test for every row of the table "At home in PyTorch" in docs/operator.md."""

from __future__ import annotations

import copy
import dataclasses
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.ao.quantization import get_default_qat_qconfig_mapping, quantize_fx
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jvp, vmap
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.feature_extraction import create_feature_extractor

from icnn_core import IrregularConv2d, irregular_conv2d
from icnn_core.errors import DtypeError
from icnn_core.ops import explain
from icnn_core.ops.arguments import to_geometry
from icnn_core.ops.backends import BACKENDS, read_reach
from icnn_core.ops.geometry import regular_slots
from icnn_core.ops.irregular_conv import _choose, make_request

# torch's own forward-mode rules still load torch.jit.script
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*is (deprecated|not supported)")

SHARINGS = ["layer", "channel", "none"]
CALL = {"stride": (2, 1), "padding": (1, 2), "dilation": (2, 1), "groups": 2}


def make_tensors(sharing="channel", dtype=torch.float64, seed=0, kernels=6):
    """x, weight, positions and bias, the positions clear of the lattice, where finite differences would straddle."""
    generator = torch.Generator().manual_seed(seed)
    lead = {"layer": (1,), "channel": (4,), "none": (kernels, 2)}[sharing]
    x = torch.randn(2, 4, 7, 6, generator=generator, dtype=dtype)
    weight = torch.randn(kernels, 2, 3, 2, generator=generator, dtype=dtype)
    shift = 0.2 + 0.6 * torch.rand(*lead, 6, 2, generator=generator, dtype=dtype)
    positions = regular_slots((3, 2), (2, 1)).to(dtype).floor() + shift
    return x, weight, positions, torch.randn(kernels, generator=generator, dtype=dtype)


def conv(x, weight, positions, bias=None):
    return irregular_conv2d(x, weight, positions, bias, **CALL)


def make_net(sharing="channel"):
    torch.manual_seed(0)
    return nn.Sequential(
        IrregularConv2d(3, 4, (3, 2), padding=1, sharing=sharing, shift=0.4),
        nn.ReLU(),
        IrregularConv2d(4, 2, 3, stride=2, padding=(1, 0), sharing=sharing, shift=0.4),
    )


def make_mixed_net(sharings=SHARINGS, **options):
    """A layer of every sharing, no two of one size: what takes seconds to trace is traced once."""
    torch.manual_seed(0)
    sizes = {
        "layer": (4, (3, 2), {"padding": 1}),
        "channel": (3, 3, {"stride": 2, "padding": (1, 0)}),
        "none": (2, (2, 3), {"padding": (0, 1)}),
    }
    layers, channels = [], 3
    for sharing in sharings:
        made, kernel, geometry = sizes[sharing]
        layers += [
            IrregularConv2d(channels, made, kernel, sharing=sharing, shift=0.4, **geometry, **options),
            nn.ReLU(),
        ]
        channels = made
    return nn.Sequential(*layers[:-1])


def test_compile_fullgraph():
    net, x = make_mixed_net(), torch.randn(2, 3, 8, 9)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    expected, out = net(x), compiled(x)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
    names = [n for n, _ in net.named_parameters()]
    ours = torch.autograd.grad(out.square().sum(), list(net.parameters()))
    theirs = torch.autograd.grad(expected.square().sum(), list(net.parameters()))
    for name, mine, other in zip(names, ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler on the CPU")
def test_compile_with_inductor():
    net, x = make_net().eval(), torch.randn(2, 3, 8, 9)
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(net, fullgraph=True)(x), net(x), rtol=1e-4, atol=1e-5)


def test_export():
    net, x = make_mixed_net().eval(), torch.randn(2, 3, 8, 9)
    program = torch.export.export(net, (x,))
    torch.testing.assert_close(program.module()(x), net(x), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_onnx(tmp_path):
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    net, x = make_mixed_net(["channel", "none"]).eval(), torch.randn(2, 3, 8, 9)
    torch.onnx.export(net, (x,), tmp_path / "net.onnx", dynamo=True, verbose=False)
    session = runtime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    (out,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(out), net(x).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sharing", SHARINGS)
def test_autocast_to_bfloat16(sharing):
    net, x = make_net(sharing), torch.randn(2, 3, 8, 9)
    expected = net(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = net(x)
    assert (out.float() - expected).norm() / expected.norm() < 2e-2
    out.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert net[0].positions.grad.dtype == torch.float32


def test_autocast_stays_on_the_fast_path():
    """A second layer's input is bfloat16 already."""
    pytest.importorskip("numba", reason="Numba is not installed")
    layer, x = IrregularConv2d(32, 24, 3, padding=1, shift=0.4), torch.randn(1, 32, 19, 23)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        narrow = x.bfloat16()
        assert explain(narrow, layer.weight, layer.positions, padding=1).backend == "sampled"
        out = layer(narrow)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), layer(x), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_network(dtype):
    net, x = make_net(), torch.randn(2, 3, 8, 9)
    expected = net(x)
    out = net.to(dtype)(x.to(dtype))
    assert out.dtype == dtype
    assert (out.float() - expected).norm() / expected.norm() < 5e-2


@pytest.mark.parametrize("sharing", SHARINGS)
def test_double_backward(sharing):
    x, *parameters = make_tensors(sharing, kernels=2 if sharing == "none" else 6)  # which share nothing
    few = x[:1, :, :5, :3]  # 2 rows of 6 outputs: differences are taken of each input and of each output
    inputs = [t.clone().requires_grad_() for t in (few, *parameters)]
    assert torch.autograd.gradgradcheck(conv, inputs, atol=1e-4)


@pytest.mark.parametrize("sharing", SHARINGS)
def test_forward_mode_equals_finite_differences(sharing):
    primals = make_tensors(sharing)
    tangents = tuple(torch.randn_like(t) for t in primals)
    _, tangent = jvp(conv, primals, tangents)
    step = 1e-6
    ahead, behind = (
        conv(*(p + s * t for p, t in zip(primals, tangents, strict=True))) for s in (step, -step)
    )
    torch.testing.assert_close(tangent, (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-5)
    assert tangent.abs().max() > 0.1


@pytest.mark.parametrize("sharing", SHARINGS)
def test_per_sample_gradients_by_vmap(sharing):
    x, *parameters = make_tensors(sharing)

    def loss(weight, positions, bias, image):
        return conv(image[None], weight, positions, bias).square().sum()

    ours = vmap(grad(loss, argnums=(0, 1, 2)), in_dims=(None, None, None, 0))(*parameters, x)
    for i, image in enumerate(x):
        for mine, one in zip(ours, grad(loss, argnums=(0, 1, 2))(*parameters, image), strict=True):
            torch.testing.assert_close(mine[i], one)


def test_vmap_over_positions():
    x, weight, positions, _ = make_tensors()
    several = torch.stack([positions, positions + 0.11])
    out = vmap(conv, in_dims=(None, None, 0))(x, weight, several)
    torch.testing.assert_close(out[1], conv(x, weight, several[1]))


def test_jacobian_and_hessian():
    x, weight, positions, _ = make_tensors()
    small = x[:1, :, :4, :3]
    forward = jacfwd(lambda p: conv(small, weight, p).sum(0).sum(0))(positions)
    assert forward.isfinite().all()
    assert forward.abs().max() > 0
    curvature = hessian(lambda p: conv(small, weight, p).square().sum())(
        positions[:1, :2].new_zeros(4, 6, 2) + positions
    )
    torch.testing.assert_close(curvature.reshape(48, 48), curvature.reshape(48, 48).T)


def test_functional_call():
    net, x = make_net(), torch.randn(2, 3, 8, 9)
    moved = {"0.positions": net[0].positions + 0.3}
    assert not torch.allclose(functional_call(net, moved, x), net(x))


@pytest.mark.parametrize("sharing", SHARINGS)
def test_channels_last_and_strided_inputs(sharing):
    net, x = make_net(sharing), torch.randn(2, 3, 8, 9)
    expected = net(x)
    torch.testing.assert_close(net(x.to(memory_format=torch.channels_last)), expected, rtol=1e-4, atol=1e-5)
    wide = torch.randn(2, 3, 8, 18)
    torch.testing.assert_close(net(wide[..., ::2]), net(wide[..., ::2].contiguous()), rtol=1e-4, atol=1e-5)


def test_batch_of_none():
    net = make_net()
    out = net(torch.randn(0, 3, 8, 9))
    assert out.shape == (0, 2, 4, 4)
    out.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in net.parameters())


@pytest.mark.parametrize("sharing", SHARINGS)
def test_meta_and_fake_tensors(sharing):
    net = make_net(sharing)
    shape = net(torch.randn(2, 3, 8, 9)).shape
    assert copy.deepcopy(net).to("meta")(torch.empty(2, 3, 8, 9, device="meta")).shape == shape
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True):
        assert net(torch.empty(2, 3, 8, 9)).shape == shape


def test_deepcopy_is_independent():
    net, x = make_net(), torch.randn(2, 3, 8, 9)
    twin = copy.deepcopy(net)
    with torch.no_grad():
        twin[0].positions.add_(0.3)
    assert not torch.allclose(net(x), twin(x))


def test_inference_in_several_threads():
    net, x = make_net().eval(), torch.randn(6, 3, 17, 19)
    with torch.inference_mode():
        expected = net(x)

        def run(_):
            with torch.inference_mode():
                return net(x)

        with ThreadPoolExecutor(4) as pool:
            for out in pool.map(run, range(12)):
                torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)


def test_inference_mode_parameters():
    with torch.inference_mode():
        net, x = make_net().eval(), torch.randn(2, 3, 8, 9)
        assert net(x).isfinite().all()


def test_gaussian_compiles_and_exports():
    net, x = make_mixed_net(interpolation="gaussian", learn_sigma=True), torch.randn(2, 3, 8, 9)
    expected = net(x)
    out = torch.compile(net, fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
    names, parameters = zip(*net.named_parameters(), strict=True)
    ours, theirs = (torch.autograd.grad(y.square().sum(), parameters) for y in (out, expected))
    for name, mine, other in zip(names, ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4, msg=name)
        assert other.abs().max() > 1e-3, name
    program = torch.export.export(net.eval(), (x,))
    torch.testing.assert_close(program.module()(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sharing", SHARINGS)
def test_gaussian_derivatives(sharing):
    """Second ones, forward mode against finite differences, and per sample."""
    x, weight, positions, _ = make_tensors(sharing)
    sigma = torch.full_like(positions, 0.6)

    def blurred(*tensors):
        return irregular_conv2d(*tensors[:3], **CALL, interpolation="gaussian", sigma=tensors[3])

    inputs = [t.clone().requires_grad_() for t in (x[:1], weight, positions, sigma)]
    assert torch.autograd.gradgradcheck(blurred, inputs, atol=1e-4, fast_mode=True)
    primals, step = (x, weight, positions, sigma), 1e-6
    tangents = tuple(torch.randn_like(t) for t in primals)
    _, tangent = jvp(blurred, primals, tangents)
    ahead, behind = (
        blurred(*(p + s * t for p, t in zip(primals, tangents, strict=True))) for s in (step, -step)
    )
    torch.testing.assert_close(tangent, (ahead - behind) / (2 * step), rtol=1e-4, atol=1e-5)

    def loss(width, image):
        return blurred(image[None], weight, positions, width).square().sum()

    each = vmap(grad(loss), in_dims=(None, 0))(sigma, x)
    torch.testing.assert_close(each[1], grad(loss)(sigma, x[1]))


@pytest.mark.parametrize("name", ["sampled_conv2d", "sampled_conv2d_backward"])
@pytest.mark.parametrize("sharing", ["layer", "channel"])
def test_opcheck(sharing, name):
    """Schema, autograd and shapes without values; tracing, which takes a minute, in test_ops_sampled.py."""
    pytest.importorskip("numba", reason="Numba is not installed")
    x, weight, positions, bias = (t.requires_grad_() for t in make_tensors(sharing))
    sizes = [2, 1], [1, 2], [2, 1], 2
    if name.endswith("backward"):
        grad_out = torch.ones_like(conv(x, weight, positions))
        arguments = (grad_out, x, weight, positions, *sizes, [True] * 4)
    else:
        arguments = (x, weight, positions, bias, *sizes)
    torch.library.opcheck(
        getattr(torch.ops.icnn, name).default,
        arguments,
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


@pytest.mark.parametrize("sharing", SHARINGS)
def test_on_mps_dense_serves(sharing):
    """The choice alone, with the kind of device put in its place: no such device is needed for it."""
    layer = IrregularConv2d(16, 16, (3, 2), padding=1, sharing=sharing, shift=0.4)
    x, sizes = torch.zeros(1, 16, 12, 13), (layer.stride, (1, 1), layer.dilation, 1)
    geometry = to_geometry(x, layer.weight, *sizes)
    request = make_request(x, layer.weight, layer.positions, geometry, None)
    request = request.with_reach(read_reach(layer.positions, geometry, None))
    request = dataclasses.replace(request, device=torch.device("mps", 0))
    assert _choose(request).name == "dense"
    assert "runs on the CPU, and the input lies on mps" in "".join(BACKENDS["sampled"].reasons(request))
    assert "runs on CUDA, and the input lies on mps" in "".join(BACKENDS["fused"].reasons(request))


def test_explain_says_what_leaves_the_fast_path():
    x, weight, positions, _ = (t.float() for t in make_tensors())
    assert explain(x, weight, positions, **CALL).backend == "sampled"
    blurred = explain(x, weight, positions, **CALL, interpolation="gaussian", sigma=0.5)
    assert blurred.backend in ("dense", "gathered")
    assert "bilinear" in blurred.others["sampled"]
    full = explain(x, weight, make_tensors("none")[2].float(), **CALL)
    assert full.backend == "sparse"
    assert "shapes of its own" in full.others["sampled"]
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, torch.ones_like(x))
        pushed = explain(dual, weight, positions, **CALL)
    assert pushed.backend in ("dense", "gathered")
    assert "forward-mode" in pushed.others["sampled"]
    seen = []

    def look(image):
        seen.append(explain(image[None], weight, positions, **CALL))
        return image

    vmap(look)(x)
    assert seen[0].backend in ("dense", "gathered")
    assert "torch.func" in seen[0].others["sampled"]


@pytest.mark.parametrize("learns", ["all", "positions", "weight"])
def test_products_are_counted_as_conv2ds(learns):
    layer = IrregularConv2d(12, 8, (3, 2), stride=(2, 1), dilation=(1, 2), groups=2, shift=0.4)
    x = torch.randn(2, 12, 14, 11, requires_grad=learns == "all")
    for name, parameter in layer.named_parameters():
        parameter.requires_grad_(learns in ("all", name))
    forward = 2 * 2 * (6 * 9) * 8 * (12 // 2) * 6
    layer.backend = "sampled"
    with FlopCounterMode(display=False) as counter:
        out = layer(x)
    assert counter.get_total_flops() == forward
    with FlopCounterMode(display=False) as counter:
        out.sum().backward()
    assert counter.get_total_flops() == forward * (2 if learns == "all" else 1)


def test_symbolic_trace_and_what_builds_on_it():
    net, x = make_net(), torch.randn(2, 3, 8, 9)
    torch.testing.assert_close(torch.fx.symbolic_trace(net)(x), net(x))
    features = create_feature_extractor(net, {"0": "first", "1": "second"})(x)
    torch.testing.assert_close(features["second"], net[0](x).relu())
    assert features["first"].shape == net[0](x).shape


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_quantisation_aware_training_leaves_the_layer_in_float():
    net, x = make_net().train(), torch.randn(2, 3, 8, 9)
    prepared = quantize_fx.prepare_qat_fx(net, get_default_qat_qconfig_mapping("fbgemm"), (x,))
    out = prepared(x)
    torch.testing.assert_close(out, net(x), rtol=0.1, atol=0.1)
    out.sum().backward()
    assert prepared.get_parameter("0.positions").grad.abs().sum() > 0


@pytest.mark.parametrize("sharing", SHARINGS)
def test_a_norm_folded_into_the_layer_keeps_its_positions(sharing):
    torch.manual_seed(0)
    layer, norm = (
        IrregularConv2d(3, 4, 3, sharing=sharing, padding_mode="reflect", padding=1, shift=0.7),
        nn.BatchNorm2d(4),
    )
    x = torch.randn(5, 3, 8, 9)
    norm(layer(x))
    both = nn.Sequential(layer, norm).eval()
    folded = fuse_conv_bn_eval(layer.eval(), norm)
    assert torch.equal(folded.positions, layer.positions)
    torch.testing.assert_close(folded(x), both(x), rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_quantised_images_are_refused_and_what_to_do_is_said():
    layer, x = IrregularConv2d(3, 4, 3), torch.randn(1, 3, 6, 5)
    with pytest.raises(DtypeError, match=r"quint8.*Leave the layer out of quantisation"):
        layer(torch.quantize_per_tensor(x, 0.1, 128, torch.quint8))


def test_script_refuses():
    """The layer chooses its back end by what its positions are; TorchScript cannot."""
    with pytest.raises(Exception, match=r"annotation|script"):
        torch.jit.script(make_net())
