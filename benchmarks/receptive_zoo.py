"""Is a receptive field what can have an influence? Single pixels perturbed, layer by layer and network by network.

    python benchmarks/receptive_zoo.py [--networks] [--only NAME]

Every layer of the zoo stands between two 1×1 convolutions. Each pixel of small images is changed by itself, under
several draws of weights and images; those that change the output at one pixel are compared with `receptive_field`.
With --networks also every classification and segmentation network of torchvision, with random weights, at its output
and at its last feature map of a quarter of the image's size: the gradient with respect to all pixels of the image, and
pixels outside the field perturbed. Prints two tables in Markdown.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from icnn_core import IrregularConv2d
from icnn_core.errors import UnsupportedError
from icnn_viz.gradients import receptive_field, sampling_density

SHAPE, PIXEL = (10, 13), (4, 7)
DRAWS = 5
CHANNELS = 4


class Lambda(nn.Module):
    """A function of the input and of some layers."""

    def __init__(self, function: Callable[..., Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.layers)


class Parameters(nn.Module):
    """A layer scale."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((CHANNELS, 1, 1), value))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class Attention(nn.Module):
    """Self-attention over pixels (or, with `axis`, over one axis), by a module or by the function."""

    def __init__(self, module: bool, axis: int | None = None) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(CHANNELS, 2, batch_first=True) if module else None
        self.project = nn.Linear(CHANNELS, 3 * CHANNELS)
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.permute(0, 2, 3, 1)
        if self.axis == 0:
            tokens = tokens.transpose(1, 2)
        sequence = tokens.flatten(1, 2) if self.axis is None else tokens.flatten(0, 1)
        if self.inner is not None:
            out = self.inner(sequence, sequence, sequence)[0]
        else:
            out = F.scaled_dot_product_attention(*self.project(sequence).chunk(3, -1))
        out = out.view(tokens.shape)
        return (out.transpose(1, 2) if self.axis == 0 else out).permute(0, 3, 1, 2)


class Excitation(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, gate: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Conv2d(CHANNELS, 2, 1), nn.Conv2d(2, CHANNELS, 1)
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.excite(self.squeeze(x.mean((2, 3), keepdim=True))))


class InPlace(nn.Module):
    """Parts of a tensor written one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = conv(3)

    def forward(self, x: Tensor) -> Tensor:
        out = torch.zeros_like(x)
        out[:, ::2] = self.conv(x)[:, ::2]
        out[:, 1::2, :, 1:] += x[:, 1::2, :, :-1]
        return out.relu_()


class PooledIndices(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        values, indices = F.max_pool2d(x, 2, return_indices=True)
        return F.max_unpool2d(values, indices, [2, 2], output_size=x.shape[-2:])


class WindowedAttention(nn.Module):
    """Attention masked to two halves of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(CHANNELS, 3 * CHANNELS)
        half = torch.arange(SHAPE[0] * SHAPE[1]) % SHAPE[1] < 5
        self.register_buffer("mask", half[:, None] == half)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.project(x.flatten(2).transpose(1, 2)).chunk(3, -1)
        return F.scaled_dot_product_attention(q, k, v, self.get_buffer("mask")).transpose(1, 2).view(x.shape)


class Standardised(nn.Conv2d):
    """Weights of mean 0 and variance 1."""

    def forward(self, input: Tensor) -> Tensor:
        deviation, mean = torch.std_mean(self.weight, (1, 2, 3), keepdim=True)
        return self._conv_forward(input, (self.weight - mean) / deviation, self.bias)


def conv(size: int | tuple[int, int] = 3, **options: object) -> nn.Conv2d:
    padding = options.pop("padding", "same")
    return nn.Conv2d(CHANNELS, CHANNELS, size, padding=padding, **options)  # pyright: ignore


def irregular(**options: object) -> IrregularConv2d:
    layer = IrregularConv2d(CHANNELS, CHANNELS, 3, padding=1, shift=1.7, **options)  # pyright: ignore
    return layer.requires_grad_(True)


def deformed() -> nn.Module:
    from torchvision.ops import DeformConv2d

    def call(x: Tensor, offsets: nn.Module, layer: nn.Module) -> Tensor:
        return layer(x, offsets(x))

    return Lambda(call, nn.Conv2d(CHANNELS, 18, 3, padding=1), DeformConv2d(CHANNELS, CHANNELS, 3, padding=1))


def pruned() -> nn.Module:
    layer = conv((1, 5))
    mask = torch.ones_like(layer.weight)
    mask[..., 1] = 0
    prune.custom_from_mask(layer, "weight", mask)
    return layer


def spectrum(x: Tensor, layer: nn.Module) -> Tensor:
    return torch.fft.irfft2(torch.fft.rfft2(layer(x)).abs(), s=x.shape[-2:])


def sampled_at_fixed_places(x: Tensor) -> Tensor:
    turned = torch.tensor([[[0.9, 0.2, 0], [-0.3, 0.8, 0.1]]]).to(x)
    return F.grid_sample(x, F.affine_grid(turned, [1, 1, *SHAPE], False), align_corners=False)


def cropped(x: Tensor, layer: nn.Module) -> Tensor:
    return F.pad(layer(x)[..., 1:, 2:], (2, 0, 1, 0))


def old_weight_norm() -> nn.Module:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.utils.weight_norm(conv())


ZOO: dict[str, Callable[[], nn.Module]] = {
    "conv 3×3": conv,
    "conv 3×5, dilation (2, 1)": lambda: conv((3, 5), dilation=(2, 1)),
    "conv, stride (2, 3)": lambda: conv(stride=(2, 3), padding=1),
    "conv, depthwise": lambda: conv(groups=CHANNELS),
    "conv, padding reflect": lambda: conv(5, padding=2, padding_mode="reflect"),
    "conv, padding replicate": lambda: conv(5, padding=2, padding_mode="replicate"),
    "conv, padding circular": lambda: conv(5, padding=2, padding_mode="circular"),
    "transposed conv, stride 2": lambda: nn.ConvTranspose2d(CHANNELS, CHANNELS, 3, 2, 1),
    "transposed conv, stride (1, 2), output padding": lambda: nn.ConvTranspose2d(
        CHANNELS, CHANNELS, (3, 4), (1, 2), 1, (0, 1)
    ),
    "weight_norm": lambda: parametrizations.weight_norm(conv()),
    "weight_norm, old style": old_weight_norm,
    "spectral_norm": lambda: parametrizations.spectral_norm(conv()),
    "orthogonal": lambda: parametrizations.orthogonal(conv()),
    "standardised weights": lambda: Standardised(CHANNELS, CHANNELS, 3, padding=1),
    "pruned by a mask": pruned,
    "irregular, bilinear": irregular,
    "irregular, Gaussian": lambda: irregular(interpolation="gaussian", sigma=1.0),
    "irregular, one shape a kernel": lambda: irregular(sharing="none"),
    "irregular, one shape, stride (2, 1)": lambda: irregular(sharing="layer", stride=(2, 1)),
    "irregular, weight_norm": lambda: parametrizations.weight_norm(irregular()),
    "deformable conv": deformed,
    "layer scale below 0": lambda: Lambda(lambda x, a, b: x + b(a(x)), conv(), Parameters(-0.1)),
    "layer scale of 0": lambda: Lambda(lambda x, a, b: x + b(a(x)), conv(), Parameters(0.0)),
    "difference of convs": lambda: Lambda(lambda x, a, b: a(x) - b(x), conv(), conv((5, 1))),
    "pool minus identity": lambda: Lambda(lambda x, a: a(x) - x, nn.AvgPool2d(3, 1, 1)),
    "max pool 3, stride 2": lambda: nn.MaxPool2d(3, 2, 1),
    "max pool, dilated": lambda: nn.MaxPool2d((2, 3), 1, dilation=2),
    "max pool, ceil mode": lambda: nn.MaxPool2d(3, ceil_mode=True),
    "average pool (2, 3)": lambda: nn.AvgPool2d((2, 3)),
    "power-average pool": lambda: nn.LPPool2d(2, 2),
    "adaptive average pool": lambda: Lambda(lambda x, a: x + F.interpolate(a(x), SHAPE), nn.AdaptiveAvgPool2d(3)),
    "adaptive max pool": lambda: Lambda(lambda x, a: x + F.interpolate(a(x), SHAPE), nn.AdaptiveMaxPool2d((3, 4))),
    "max pool and unpool": PooledIndices,
    "global max": lambda: Lambda(lambda x: x * x.amax((2, 3), keepdim=True)),
    "batch norm": lambda: nn.Sequential(conv(), nn.BatchNorm2d(CHANNELS)),
    "batch norm without running statistics": lambda: nn.BatchNorm2d(CHANNELS, track_running_stats=False),
    "group norm": lambda: nn.Sequential(conv(), nn.GroupNorm(2, CHANNELS)),
    "instance norm": lambda: nn.InstanceNorm2d(CHANNELS, affine=True),
    "instance norm, running statistics": lambda: nn.InstanceNorm2d(CHANNELS, track_running_stats=True),
    "layer norm over channels": lambda: Lambda(
        lambda x, a, b: a(b(x).movedim(1, 3)).movedim(3, 1), nn.LayerNorm(CHANNELS), conv((3, 1))
    ),
    "layer norm over everything": lambda: nn.LayerNorm([CHANNELS, *SHAPE]),
    "RMS norm over rows": lambda: nn.RMSNorm(SHAPE[1]),
    "local response norm": lambda: nn.Sequential(conv((1, 3)), nn.LocalResponseNorm(3)),
    "normalised over space": lambda: Lambda(lambda x: F.normalize(x.flatten(2), dim=2).view(x.shape)),
    "squeeze and excitation, sigmoid": lambda: Excitation(torch.sigmoid),
    "squeeze and excitation, hard sigmoid": lambda: Excitation(F.hardsigmoid),
    "gate of a conv (tanh)": lambda: Lambda(lambda x, a: x * a(x).tanh(), conv((5, 1))),
    "GLU": lambda: Lambda(lambda x, a: F.glu(a(x), 1), nn.Conv2d(CHANNELS, 2 * CHANNELS, (1, 3), padding=(0, 1))),
    "softmax over channels": lambda: nn.Sequential(conv(), nn.Softmax2d()),
    "softmax over space": lambda: Lambda(lambda x: x.flatten(2).softmax(2).view(x.shape)),
    "spatial gate by threshold": lambda: Lambda(lambda x, a: torch.where(a(x) > 0, x, -x), conv()),
    "sigmoid, softsign, logsigmoid, tanh": lambda: nn.Sequential(
        nn.Sigmoid(), conv((1, 3)), nn.Softsign(), nn.LogSigmoid(), nn.Tanh()
    ),
    "PReLU, GELU, Hardswish, ELU, Softplus": lambda: nn.Sequential(
        nn.PReLU(), conv((3, 1)), nn.GELU(), nn.Hardswish(), nn.ELU(), nn.Softplus()
    ),
    "upsampling, nearest": lambda: nn.Sequential(nn.AvgPool2d(2), conv(), nn.Upsample(SHAPE)),
    "upsampling, nearest-exact": lambda: nn.Sequential(nn.AvgPool2d(3), nn.Upsample(SHAPE, mode="nearest-exact")),
    "upsampling, bilinear": lambda: nn.Sequential(nn.AvgPool2d(2), nn.Upsample(SHAPE, mode="bilinear")),
    "upsampling, bilinear, corners aligned": lambda: nn.Sequential(
        nn.AvgPool2d(3), nn.Upsample(SHAPE, mode="bilinear", align_corners=True)
    ),
    "upsampling, bicubic": lambda: nn.Sequential(nn.AvgPool2d(2), nn.Upsample(SHAPE, mode="bicubic")),
    "downsampling, bicubic, antialiased": lambda: Lambda(
        lambda x: F.interpolate(x, (4, 5), mode="bicubic", antialias=True)
    ),
    "pixel shuffle": lambda: Lambda(lambda x: F.pixel_shuffle(F.avg_pool2d(x, 2), 2)[:, [0] * CHANNELS]),
    "pixel unshuffle, conv, shuffle": lambda: Lambda(
        lambda x, a: F.pixel_shuffle(a(F.pixel_unshuffle(x[..., :12], 2)), 2),
        nn.Conv2d(4 * CHANNELS, 4 * CHANNELS, (1, 3), padding=(0, 1), groups=4),
    ),
    "channel shuffle": lambda: nn.Sequential(conv(groups=2), nn.ChannelShuffle(2)),
    "unfold and fold": lambda: Lambda(
        lambda x, a: F.fold(a(F.unfold(x, 3, padding=1)), SHAPE, (1, 3), padding=(0, 1)),
        nn.Conv1d(9 * CHANNELS, 3 * CHANNELS, 1),
    ),
    "roll and flip": lambda: Lambda(lambda x, a: a(x.roll((2, -3), (2, 3)).flip(3)), conv()),
    "crop and pad": lambda: Lambda(cropped, conv()),
    "written in place": InPlace,
    "grid of fixed places": lambda: Lambda(sampled_at_fixed_places),
    "self-attention, module": lambda: Attention(module=True),
    "self-attention, function": lambda: Attention(module=False),
    "axial attention": lambda: Attention(module=False, axis=0),
    "masked attention": WindowedAttention,
    "MLP over rows": lambda: nn.Linear(SHAPE[1], SHAPE[1]),
    "einsum over columns": lambda: Lambda(
        lambda x, a: torch.einsum("nchw,hk->nckw", x, a.weight), nn.Linear(SHAPE[0], SHAPE[0])
    ),
    "Fourier magnitudes": lambda: Lambda(spectrum, conv()),
    "cumulative sum": lambda: Lambda(lambda x: x.cumsum(3)),
    "dense block": lambda: Lambda(
        lambda x, a, b: torch.cat([x, a(x), b(torch.cat([x, a(x)], 1))], 1)[:, -CHANNELS:],
        conv((1, 3)), nn.Conv2d(2 * CHANNELS, CHANNELS, (3, 1), padding=(1, 0)),
    ),
}  # fmt: skip
"""Layers by name; each takes and gives `CHANNELS` channels."""

WIDER = {"deformable conv"}
"""Layers whose field is known to be wider than what is reached: values decide where they read, so it is everything."""


def build(name: str, seed: int) -> nn.Module:
    """The layer between two 1×1 convolutions, its weights drawn by `seed`, in float64."""
    torch.manual_seed(seed)
    layer = ZOO[name]()
    net = nn.Sequential(nn.Conv2d(3, CHANNELS, 1), layer, nn.LazyConv2d(2, 1)).eval()
    with torch.no_grad():
        net(torch.zeros(1, 3, *SHAPE))
    return net.double()


def influence(net: nn.Module, seed: int) -> np.ndarray:
    """(H, W) bool: the pixels that change the output at `PIXEL` where they are changed alone."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(1, 3, *SHAPE, generator=generator, dtype=torch.float64)
    before = _output(net, image)
    changed = np.zeros(SHAPE, bool)
    for y, x in np.ndindex(*SHAPE):
        other = image.clone()
        other[0, :, y, x] += 5 * torch.randn(3, generator=generator, dtype=torch.float64)
        changed[y, x] = bool(((_output(net, other) - before).abs() > 1e-13 * before.abs().max()).any())
    return changed


@torch.no_grad()
def _output(net: nn.Module, image: Tensor) -> Tensor:
    logits = net(image)
    if logits.shape[-2:] != image.shape[-2:]:
        smaller = logits.shape[-2] > image.shape[-2] or logits.shape[-1] > image.shape[-1]
        logits = F.interpolate(
            logits, image.shape[-2:], mode="bilinear", align_corners=False, antialias=smaller
        )
    return logits[0, :, PIXEL[0], PIXEL[1]]


def compare(name: str, draws: int = DRAWS) -> tuple[np.ndarray, np.ndarray]:
    """The pixels that had an influence in any draw, and the receptive field; each (H, W) bool."""
    reached = np.any([influence(_drawn(name, seed), seed) for seed in range(draws)], axis=0)
    return reached, receptive_field(build(name, 0), SHAPE, PIXEL)


def _drawn(name: str, seed: int) -> nn.Module:
    """Positions of the first draw, also where the weights are of another; and scales that are drawn, too."""
    net, first = build(name, seed), dict(build(name, 0).named_parameters())
    with torch.no_grad():
        for key, value in net.named_parameters():
            if key.endswith("positions"):
                value.copy_(first[key])
            if key.endswith("scale") and seed:
                value.normal_()
    return net


def print_zoo(names: list[str]) -> None:
    print("| layer | pixels that had an influence | receptive field | outside it | density |")
    print("|---|---:|---:|---:|---|")
    for name in names:
        reached, field = compare(name)
        try:
            density = f"sum {sampling_density(build(name, 0), SHAPE, PIXEL).sum():.6f}"
        except UnsupportedError as error:
            density = f"refused: {error.got}"
        mark = "" if (reached == field).all() or name in WIDER else " (!)"
        print(
            f"| {name} | {reached.sum()} | {field.sum()}{mark} | {(reached & ~field).sum()} | {density} |",
            flush=True,
        )


class Whole(nn.Module):
    """A network's logits, (N, C, h, w): a classifier's are those of all pixels."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        out = self.inner(x)
        out = out["out"] if isinstance(out, dict) else out
        return out if out.ndim == 4 else out[..., None, None]


class Stage(Whole):
    """Its last feature map of a quarter of the image's size."""

    found: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        quarter = tuple(n // 4 for n in x.shape[-2:])

        def keep(_: nn.Module, __: object, out: object) -> None:
            if isinstance(out, Tensor) and out.ndim == 4 and quarter in (out.shape[-2:], out.shape[1:3]):
                self.found = out if out.shape[-2:] == quarter else out.movedim(3, 1)

        self.found = None
        handles = [module.register_forward_hook(keep) for module in self.inner.modules()]
        self.inner(x)
        for handle in handles:
            handle.remove()
        if self.found is None:
            raise LookupError("no feature map of a quarter of the image's size")
        return self.found


def print_networks(names: list[str]) -> None:
    from torchvision import models

    print(
        "| network | image | field, % | gradient, % | outside | stage: field, % | gradient, % | outside | s |"
    )
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|")
    for name in names:
        started = time.perf_counter()
        torch.manual_seed(0)
        segments = "segmentation" in models.get_model_builder(name).__module__
        options = {"weights_backbone": None} if segments else {}
        options |= {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        inner = models.get_model(name, weights=None, **options).eval().requires_grad_(False)
        for parameter in inner.parameters():
            if parameter.ndim > 1 and not parameter.any():
                nn.init.normal_(parameter, std=0.02)  # a vision transformer's head
        shape = _smallest(name)
        cells = []
        for net in (Whole(inner), Stage(inner)):
            try:
                field, reached, outside = _look(net, shape)
                cells += [f"{field:.1f}", f"{reached:.1f}", str(outside)]
            except LookupError:
                cells += ["–"] * 3
        seconds = time.perf_counter() - started
        print(f"| {name} | {shape[0]} × {shape[1]} | {' | '.join(cells)} | {seconds:.1f} |", flush=True)


def _look(net: nn.Module, shape: tuple[int, int]) -> tuple[float, float, int]:
    """The field and what the gradient reaches, in percent of the image, and how many pixels reach from outside."""
    pixel = shape[0] // 3, shape[1] // 2
    image = torch.randn(1, 3, *shape, requires_grad=True)
    values = _at(net, image, pixel)
    (gradient,) = torch.autograd.grad((values * torch.randn(len(values))).sum(), image)
    reached = (gradient[0].abs().sum(0) > 0).numpy()
    field = receptive_field(net, shape, pixel)
    outside = int((reached & ~field).sum()) + _perturb(net, image.detach(), pixel, field)
    return 100 * field.mean(), 100 * reached.mean(), outside


@torch.no_grad()
def _perturb(net: nn.Module, image: Tensor, pixel: tuple[int, int], field: np.ndarray) -> int:
    """How many of 16 pixels outside the field (fewer, if it has fewer) change the output, each by itself."""
    places = np.random.default_rng(0).permutation(np.argwhere(~field))[:16]
    before, count = _at(net, image, pixel), 0
    for y, x in places:
        other = image.clone()
        other[0, :, y, x] += 3
        count += bool((_at(net, other, pixel) - before).abs().max() > 1e-5 * before.abs().max())
    return count


def _at(net: nn.Module, image: Tensor, pixel: tuple[int, int]) -> Tensor:
    out = F.interpolate(net(image), image.shape[-2:], mode="bilinear", align_corners=False)
    return out[0, :, pixel[0], pixel[1]]


def _smallest(name: str) -> tuple[int, int]:
    if name.startswith(("vit_", "maxvit")):
        return 224, 224  # the only size that they take
    return (96, 128) if "inception" in name else (64, 96)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--networks", action="store_true", help="torchvision's networks, too")
    parser.add_argument("--only", help="names that hold this")
    asked = parser.parse_args()
    print_zoo([name for name in ZOO if not asked.only or asked.only in name])
    if asked.networks:
        from torchvision import models

        print()
        listed = models.list_models(models) + models.list_models(models.segmentation)
        print_networks([name for name in listed if not asked.only or asked.only in name])


if __name__ == "__main__":
    main()
