"""How a network wants to see images, and where it gives its logits: as the user, its library or ImageNet says."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from icnn_core.errors import ArgumentError, DtypeError, IcnnError, ShapeError
from icnn_core.files import read_text

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_log = logging.getLogger(__name__)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
PROCESSOR = "preprocessor_config.json"
"""The file in which transformers' networks say how they want images."""
IMAGE_SETTINGS = ("output", "divisor", "fit", "mean", "std", "white", "order")
"""What a user may say of it."""
_MANY = 12  # channels of an image, as Sentinel-2 has; a first convolution of more is probably a decoder's
_BEYOND = 2.0  # a value that no image in [0, 1] has
_GREY = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601), as Pillow weighs them
_WHO = "Preparation"


@dataclass(frozen=True)
class Preparation:
    """How images become a network's input, and where in its output the logits are.

    A network may carry one as `model.icnn_preparation`; see `preparation_of`.

    Attributes:
        mean, std: one per channel: the network sees (value - mean) / std.
        white: what 255 becomes before that, in images of 8 bits: 1 or 255. Other types are taken as they are.
        order: "rgb" or "bgr", of images in colour.
        divisor: of the heights and widths that it takes.
        fit: how images get there: "pad" (with the mean, below and to the right; the logits there are cut off) or
            "resize" (to the nearest multiple).
        size: (height, width) that it was made for, or the length of the shorter side alone; None for any.
        longest: of the longer side at most, where `size` is the shorter one's.
        output: the name of its logits, where it returns several things; None for those that are known.
        source: who says so, for people.
    """

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    white: float = 1.0
    order: str = "rgb"
    divisor: int = 1
    fit: str = "pad"
    size: tuple[int, int] | int | None = None
    longest: int | None = None
    output: str | None = None
    source: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(map(float, self.mean)))
        object.__setattr__(self, "std", tuple(map(float, self.std)))
        numbers = (*self.mean, *self.std, self.white)
        for needed, holds, got in (
            (
                "a mean and a std for each channel",
                0 < len(self.mean) == len(self.std),
                f"{len(self.mean)} means and {len(self.std)} stds",
            ),
            (
                "finite numbers, and stds above 0",
                all(map(math.isfinite, numbers)) and min(self.std) > 0,
                numbers,
            ),
            ("white above 0: 1 or 255", self.white > 0, self.white),
            ('the order "rgb" or "bgr"', self.order in ("rgb", "bgr"), self.order),
            ("a divisor from 1", self.divisor >= 1, self.divisor),
            (
                "sides from 1",
                min(*_sides(self.size), 1 if self.longest is None else self.longest, 1) >= 1,
                (self.size, self.longest),
            ),
            ('fit "pad" or "resize"', self.fit in ("pad", "resize"), self.fit),
        ):
            if not holds:
                raise ArgumentError(_WHO, needed=needed, got=str(got), fix="See its documentation.")

    def __str__(self) -> str:
        mean, std = (", ".join(f"{v:.3g}" for v in numbers) for numbers in (self.mean, self.std))
        parts = [
            f"{self.channels} channels ({self.order})" if self.channels == 3 else f"{self.channels} channels"
        ]
        parts += [f"255 as {self.white:g}, mean {mean}, std {std}"]
        if self.size is not None:
            most = f", the longer at most {self.longest}" if self.longest else ""
            parts += [
                "resized to {} × {}".format(*self.size)
                if isinstance(self.size, tuple)
                else f"resized to {self.size} on the shorter side{most}"
            ]
        way = "padded" if self.fit == "pad" else "resized"
        parts += [f"{way} to multiples of {self.divisor}"] * (self.divisor > 1)
        parts += [f'logits under "{self.output}"'] * bool(self.output)
        return "; ".join(parts) + (f" (by {self.source})" if self.source else "")

    @property
    def channels(self) -> int:
        """How many channels the network takes."""
        return len(self.mean)

    def normalise(self, images: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Images (…, C, H, W) of any type as the network wants their values, in float32 unless another is said.

        Colour becomes grey for a network of one channel, and grey is repeated for one of three.

        Raises:
            ShapeError: another number of channels. DtypeError: numbers of another range than the mean and std are for.
        """
        import torch

        given = images.shape[-3]
        if images.dtype != torch.uint8 and self.source and self.channels in (1, 3) and images.numel():
            largest = float(images.abs().max())
            if largest > _BEYOND * self.white:
                needed = f"uint8, or numbers from 0 to {self.white:g}, for {self.source}"
                fix = "Say --mean and --std of these numbers, or scale them."
                raise DtypeError(_WHO, needed=needed, got=f"{images.dtype} up to {largest:.6g}", fix=fix)
        values = images.to(dtype or torch.float32)
        if images.dtype == torch.uint8:
            values = values / 255 if self.white == 1 else values * (self.white / 255)
        if given != self.channels and {given, self.channels} == {1, 3}:
            weights = values.new_tensor(_GREY)[:, None, None]
            values = (
                (values * weights).sum(-3, keepdim=True)
                if given == 3
                else values.expand(*values.shape[:-3], 3, -1, -1)
            )
        elif given != self.channels:
            needed = f"images of {self.channels} channels, as the network takes them"
            fix = "Read them with --reader, or say --mean and --std with a number for each channel."
            raise ShapeError(_WHO, needed=needed, got=f"{given} channels", fix=fix)
        if self.order == "bgr" and self.channels == 3:
            values = values.flip(-3)
        mean, std = (values.new_tensor(numbers)[:, None, None] for numbers in (self.mean, self.std))
        return (values - mean) / std

    def made_for(self, height: int, width: int) -> tuple[int, int] | None:
        """The size that it was made for, of an image of this one; None for any."""
        if not isinstance(self.size, int):
            return self.size
        short, long = sorted((height, width))
        side, other = self.size, int(self.size * long / short)  # as transformers and torchvision round it
        if self.longest and long * side > short * self.longest:
            side, other = max(1, round(self.longest * short / long)), self.longest
        return (side, other) if height <= width else (other, side)

    def fitted_size(self, height: int, width: int) -> tuple[int, int]:
        """The size that the network gets for an image of this one."""
        whole = math.ceil if self.fit == "pad" else round
        rows, columns = (max(1, whole(side / self.divisor)) * self.divisor for side in (height, width))
        return rows, columns

    def to_plain(self) -> dict[str, Any]:
        """As JSON and a checkpoint hold it."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Preparation:
        """The way back. Raises: ArgumentError, TypeError, ValueError: values that cannot be."""
        known = {field.name for field in fields(cls)}
        given: dict[str, Any] = {
            key: tuple(v) if isinstance(v, list) else v for key, v in values.items() if key in known
        }
        return cls(**given)

    def changed(self, **given: Any) -> Preparation:
        """With what the user says instead; None says nothing. One number of a mean or std is every channel's."""
        said = {key: value for key, value in given.items() if value is not None}
        for key in ("mean", "std"):
            if len(said.get(key, ())) == 1 and self.channels > 1:
                said[key] = tuple(said[key]) * self.channels
        if "mean" in said or "std" in said:
            said["source"] = ""
        return replace(self, **said) if said else self


def tell_reader(model: nn.Module, given: str | None) -> None:
    """Log a warning if a network learnt from images that the user's own function read, and another reads them now."""
    trained = getattr(model, "icnn_reader", None)
    if trained is not None and given != trained:
        _log.warning(
            "the network was trained on images that --reader %s read: say so again, for no code is run because a file "
            "names it. Else what it sees may have other numbers than what it learnt from",
            trained,
        )


def preparation_of(model: nn.Module) -> Preparation:
    """How a network wants images: by its own `icnn_preparation`; else by what timm (`pretrained_cfg`) or transformers
    (`preprocessor_config.json`) left with it; else ImageNet's mean and std, for as many channels as its first
    convolution takes (values as they are where those are neither one nor three)."""
    own = getattr(model, "icnn_preparation", None)
    if isinstance(own, Preparation):
        return own
    channels, found = _channels_of(model), _of_transformers(model) or _of_timm(model)
    if found is None:
        known = channels in (1, 3)
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if known else ((0.0,), (1.0,))
        found = Preparation(mean, std, source="ImageNet's mean and std" if known else "values as they are")
    divisor = _divisor_of(model)
    if channels != found.channels:
        mean, std = ((sum(each) / len(each),) * channels for each in (found.mean, found.std))
        found = replace(found, mean=mean, std=std)
    return replace(found, divisor=divisor) if divisor > found.divisor else found


def read_processor(folder: str | Path) -> Preparation | None:
    """What transformers' `preprocessor_config.json` in a folder says, or None where there is none that can be read."""
    try:
        path = Path(folder) / PROCESSOR
        return of_processor(json.loads(read_text(path, str(path), ArgumentError)))
    except (IcnnError, OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def of_processor(processor: Any) -> Preparation:
    """What an image processor of transformers, or its dictionary, says."""
    given: Mapping[str, Any] = processor if isinstance(processor, Mapping) else processor.to_dict()
    normalised = bool(given.get("do_normalize")) and given.get("image_mean") is not None
    mean, std = (given["image_mean"], given["image_std"]) if normalised else ((0.0,) * 3, (1.0,) * 3)
    size, longest = _size_of(given["size"]) if given.get("do_resize") and given.get("size") else (None, None)
    factor = given.get("rescale_factor", 1 / 255)
    white = 255 * factor if given.get("do_rescale", True) else 255.0
    return Preparation(
        tuple(mean),
        tuple(std),
        white=1.0 if math.isclose(white, 1.0, rel_tol=1e-6) else white,
        order="bgr" if given.get("do_flip_channel_order") else "rgb",
        divisor=int(given.get("size_divisor") or 1) if given.get("do_pad", True) else 1,
        size=size,
        longest=longest,
        source=f"transformers' {PROCESSOR}",
    )


def _size_of(size: Any) -> tuple[tuple[int, int] | int | None, int | None]:
    """Of a processor: both sides, one number for both as older ones say, or the shorter one and the longer's most."""
    if not isinstance(size, Mapping):
        return (int(size), int(size)), None
    if "height" in size and "width" in size:
        return (int(size["height"]), int(size["width"])), None
    short, longest = size.get("shortest_edge"), size.get("longest_edge")
    return None if short is None else int(short), None if short is None or longest is None else int(longest)


def _of_transformers(model: nn.Module) -> Preparation | None:
    """By the folder, or the hub's cache, that a network was loaded from."""
    name = getattr(getattr(model, "config", None), "_name_or_path", None)
    if not isinstance(name, str) or not name:
        return None
    if (Path(name) / PROCESSOR).is_file():
        return read_processor(name)
    try:
        from huggingface_hub import try_to_load_from_cache

        kept = try_to_load_from_cache(name, PROCESSOR)
    except Exception:  # not installed, or no name of the hub's
        return None
    return read_processor(Path(kept).parent) if isinstance(kept, str) else None


def _of_timm(model: nn.Module) -> Preparation | None:
    from torch import nn

    for module in nn.Module.modules(model):
        given = vars(module).get("pretrained_cfg") or vars(module).get("default_cfg")
        if not isinstance(given, Mapping):
            continue
        mean, std, size = (given.get(key) for key in ("mean", "std", "input_size"))
        if _is_numbers(mean) and _is_numbers(std):
            fixed = given.get("fixed_input_size") and _is_numbers(size) and len(size) == 3
            return Preparation(
                tuple(mean),
                tuple(std),
                size=(int(size[1]), int(size[2])) if fixed and size else None,
                source="timm's pretrained_cfg",
            )
    return None


def _divisor_of(model: nn.Module) -> int:
    """Of segmentation_models_pytorch's networks, which refuse other sizes."""
    if not getattr(model, "requires_divisible_input_shape", False):
        return 1
    stride = getattr(getattr(model, "encoder", None), "output_stride", 1)
    return stride if isinstance(stride, int) and stride > 0 else 1


def _channels_of(model: nn.Module) -> int:
    """What its first convolution takes; 3 where it has none, or where a decoder stands before an encoder of 3."""
    from torch import nn

    convolutions = [m for m in nn.Module.modules(model) if isinstance(m, nn.modules.conv._ConvNd)]
    taken = [m.in_channels for m in convolutions if len(m.kernel_size) == 2] or [3]
    return 3 if taken[0] > _MANY and 3 in taken else taken[0]


def _sides(size: tuple[int, int] | int | None) -> tuple[int, ...]:
    return size if isinstance(size, tuple) else () if size is None else (size,)


def _is_numbers(value: Any) -> TypeGuard[Sequence[float]]:
    return isinstance(value, Sequence) and bool(value) and all(isinstance(v, int | float) for v in value)
