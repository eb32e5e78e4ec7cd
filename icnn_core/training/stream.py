"""The order of training samples: a function of (seed, iteration) alone, so that a run can go on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from icnn_core.devices import count_processors
from icnn_core.errors import DataError, IcnnError

Sample = tuple[Tensor, Tensor]
Transform = Callable[[Tensor, Tensor, int], Sample]


class _Seeded(Dataset[Sample | IcnnError]):
    """Transforms sample `index` with a random state of its own for every (seed, epoch, index)."""

    def __init__(self, samples: Sequence[Sample], transform: Transform, seed: int) -> None:
        self.samples, self.transform, self.seed = samples, transform, seed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: tuple[int, int]) -> Sample | IcnnError:
        epoch, index = key
        try:
            image, mask = self.samples[index]
        except IcnnError as error:
            return error
        drawn = np.random.SeedSequence((self.seed, epoch, index)).generate_state(1, np.uint64)[0]
        return self.transform(image, mask, int(drawn) >> 1)


class _Order(Sampler[list[tuple[int, int]]]):
    """Parts of the batches first … last - 1 as lists of (epoch, index); each epoch is a permutation of its own."""

    def __init__(
        self, length: int, batch_size: int, first: int, last: int, seed: int, parts: int, mine: Sequence[int]
    ) -> None:
        self.length, self.batch_size, self.first, self.last, self.seed = length, batch_size, first, last, seed
        self.part_size, self.mine = batch_size // parts, tuple(mine)

    def __len__(self) -> int:
        return (self.last - self.first) * len(self.mine)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, order = -1, np.empty(0, int)
        for start in range(self.first * self.batch_size, self.last * self.batch_size, self.batch_size):
            batch = []
            for position in range(start, start + self.batch_size):
                if position // self.length != epoch:
                    epoch = position // self.length
                    order = np.random.default_rng((self.seed, epoch)).permutation(self.length)
                batch.append((epoch, int(order[position % self.length])))
            for part in self.mine:
                yield batch[part * self.part_size : (part + 1) * self.part_size]


def training_batches(
    samples: Sequence[Sample],
    transform: Transform,
    *,
    batch_size: int,
    first: int,
    last: int,
    seed: int,
    workers: int = 0,
    parts: int = 1,
    mine: Sequence[int] = (0,),
    pin_memory: bool = False,
) -> Iterator[Sample]:
    """The batches of iterations `first` … `last` - 1: the same whether the ones before were drawn or not.

    Args:
        samples: pairs of image (3, H, W) uint8 and mask (H, W).
        transform: (image, mask, seed of this sample in this epoch) to pairs of equal sizes.
        workers: processes that load, at most one a processor; 0 loads in this one.
        parts: into how many equal parts each batch is cut; divides batch_size.
        mine: which of them are given, one after another.
        pin_memory: for faster copies to a GPU.

    Raises:
        IcnnError: from the iterator: a sample cannot be read, or those of a part differ in size.
    """
    order = _Order(len(samples), batch_size, first, last, seed, parts, mine)
    return _loaded(
        _Seeded(samples, transform, seed),
        batch_sampler=order,
        workers=workers,
        collate_fn=_stacked,
        pin_memory=pin_memory,
    )


def read_ahead(samples: Sequence[Sample], workers: int) -> Iterable[Sample]:
    """The samples one by one, read by worker processes if there are any.

    Raises:
        IcnnError: from the iterator: a sample cannot be read.
    """
    if workers == 0:
        return samples
    return _loaded(_Plain(samples), workers=workers, batch_size=None)


def share(samples: Sequence[Sample], rank: int, count: int) -> Sequence[Sample]:
    """Every `count`-th sample from `rank` on: together they are all, each once."""
    return samples if count == 1 else _Share(samples, range(rank, len(samples), count))


class _Share(Sequence[Sample]):
    def __init__(self, samples: Sequence[Sample], numbers: range) -> None:
        self.samples, self.numbers = samples, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Sample:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.samples[self.numbers[index]]


class _Plain(Dataset[Sample | IcnnError]):
    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample | IcnnError:
        try:
            return self.samples[index]
        except IcnnError as error:
            return error


def _loaded(data: Dataset[Any], *, workers: int, **options: Any) -> Iterator[Sample]:
    """What a DataLoader gives. Errors come as values: on their way out of a worker process it would reword them."""
    # A generator of its own, for the loader would draw from the one that the network's dropout uses.
    options |= {"num_workers": min(workers, count_processors()), "generator": torch.Generator()}
    for item in _alive(DataLoader(data, **options)):
        if isinstance(item, IcnnError):
            raise item
        yield item[0], item[1]


def _alive(loader: Iterable[Any]) -> Iterator[Any]:
    try:
        yield from loader
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        got = "one that was killed from outside, most often for want of memory"
        fix = "Use fewer --workers, or smaller images; --resume goes on from the last checkpoint."
        raise DataError("train", needed="worker processes that go on loading", got=got, fix=fix) from error


def _stacked(samples: Sequence[Sample | IcnnError]) -> Sample | IcnnError:
    good = [sample for sample in samples if not isinstance(sample, IcnnError)]
    for sample in samples:
        if isinstance(sample, IcnnError):
            return sample
    sizes = {tuple(mask.shape) for _, mask in good}
    if len(sizes) > 1:
        got = " and ".join(f"{height} × {width}" for height, width in sorted(sizes)[:2])
        fix = "Crop them (crop); or resize them (size) to no random scale (scale=1,1); or use batches of 1."
        return DataError("train", needed="images of one size in a batch", got=got, fix=fix)
    return torch.stack([image for image, _ in good]), torch.stack([mask for _, mask in good])
