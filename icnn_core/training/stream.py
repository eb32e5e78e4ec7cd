"""The order of training samples: a function of (seed, iteration) alone, so that a run can go on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

Sample = tuple[Tensor, Tensor]
Transform = Callable[[Tensor, Tensor, int], Sample]


class _Seeded(Dataset[Sample]):
    """Transforms sample `index` with a random state of its own for every (seed, epoch, index)."""

    def __init__(self, samples: Sequence[Sample], transform: Transform, seed: int) -> None:
        self.samples, self.transform, self.seed = samples, transform, seed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        epoch, index = key
        image, mask = self.samples[index]
        drawn = np.random.SeedSequence((self.seed, epoch, index)).generate_state(1, np.uint64)[0]
        return self.transform(image, mask, int(drawn) >> 1)


class _Order(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) for iterations first … last - 1; each epoch is a permutation of its own."""

    def __init__(self, length: int, batch_size: int, first: int, last: int, seed: int) -> None:
        self.length, self.batch_size, self.first, self.last, self.seed = length, batch_size, first, last, seed

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, order = -1, np.empty(0, int)
        for start in range(self.first * self.batch_size, self.last * self.batch_size, self.batch_size):
            batch = []
            for position in range(start, start + self.batch_size):
                if position // self.length != epoch:
                    epoch = position // self.length
                    order = np.random.default_rng((self.seed, epoch)).permutation(self.length)
                batch.append((epoch, int(order[position % self.length])))
            yield batch


def training_batches(
    samples: Sequence[Sample],
    transform: Transform,
    *,
    batch_size: int,
    first: int,
    last: int,
    seed: int,
    workers: int = 0,
) -> DataLoader[Sample]:
    """The batches of iterations `first` … `last` - 1: the same whether the ones before were drawn or not.

    Args:
        samples: pairs of image (3, H, W) uint8 and mask (H, W).
        transform: (image, mask, seed of this sample in this epoch) to pairs of equal sizes.
        workers: processes that load; 0 loads in this one.
    """
    order = _Order(len(samples), batch_size, first, last, seed)
    dataset = _Seeded(samples, transform, seed)
    return DataLoader(
        dataset, batch_sampler=order, num_workers=workers, persistent_workers=False, pin_memory=False
    )
