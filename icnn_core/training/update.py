"""One update of a network from one batch, in parts and over several processes if need be."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from icnn_core.datasets.labels import to_class_ids
from icnn_core.errors import TrainingError
from icnn_core.surgery import irregular_layers
from icnn_core.training.config import TrainConfig
from icnn_core.training.loss import Objective, labelled_weight
from icnn_core.training.optimizers import Optimizers
from icnn_core.training.processes import Processes
from icnn_core.training.stream import Sample

_log = logging.getLogger(__name__)
_LAYOUT = torch.channels_last  # in which torch's convolutions are faster, on CPUs and GPUs


class Updater:
    """Forward, backward and step, with the loss divided by the labelled pixels of the whole batch.

    The result is that of the whole batch at once, to rounding, unless batch statistics are trained.

    Args:
        model: is moved to its device and layout, in place.
        weights: (C,), of the classes in the loss.
    """

    def __init__(
        self, model: nn.Module, config: TrainConfig, processes: Processes, weights: Tensor, ignore_index: int
    ) -> None:
        model.to(processes.device).to(memory_format=_LAYOUT)  # pyright: ignore[reportCallIssue]
        if config.batch_norm == "sync" and processes.count > 1:
            nn.SyncBatchNorm.convert_sync_batchnorm(model)
        self.model, self.processes = model, processes
        self._frozen = config.batch_norm == "frozen"
        self._weights, self._ignore_index = weights.to(processes.device), ignore_index
        self.optimizers = Optimizers(model, config)
        self._objective = processes.prepare(Objective(model, self._weights, ignore_index))

    def __call__(self, parts: Sequence[Sample], iteration: int) -> float:
        """Update from this process's parts of the batch of `iteration`, from 0; the loss of the whole batch.

        Raises:
            TrainingError: the loss or a gradient is not finite, or batch norm sees one value; nothing was changed.
        """
        self._objective.train()
        if self._frozen:
            for module in nn.Module.modules(self.model):
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        placed = [self._placed(*part) for part in parts]
        weighed = [labelled_weight(masks, self._weights, self._ignore_index) for _, masks in placed]
        total = self.processes.sum(torch.stack(weighed).sum())
        self.optimizers.zero_grad()
        shares = []
        for number, (images, masks) in enumerate(placed, start=1):
            with self.processes.local(self._objective, is_last=number == len(placed)):
                share = self._share(images, masks, total)
                self.processes.backward(share)
            shares.append(share.detach())
        loss = float(self.processes.sum(torch.stack(shares).sum()))
        self._step(loss, iteration)
        return loss

    def _share(self, images: Tensor, masks: Tensor, total: Tensor) -> Tensor:
        try:
            return self._objective(images, masks, total)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            needed = "more than one value a channel where batch norm takes its statistics"
            got = f"{len(images)} images of {images.shape[2]} × {images.shape[3]} at a time, and one value"
            fix = "Raise --batch-size, lower --accumulate, or use --batch-norm frozen."
            raise TrainingError("train", needed=needed, got=got, fix=fix) from error

    def _placed(self, images: Tensor, masks: Tensor) -> Sample:
        device = self.processes.device
        masks = to_class_ids(masks, len(self._weights), self._ignore_index, "train")
        images = images.to(device, non_blocking=True).contiguous(memory_format=_LAYOUT)
        return images, masks.to(device, non_blocking=True)

    def _step(self, loss: float, iteration: int) -> None:
        scaler = self.processes.scaler
        if scaler is None:
            self._check(loss, iteration)
            self.optimizers.step()
            return
        for optimizer in self.optimizers.optimizers:
            scaler.unscale_(optimizer)
        overflow = math.isfinite(loss) and self._broken_gradient() is not None
        if not overflow or scaler.get_scale() < 1:  # at such a scale it is not the scale's fault
            self._check(loss, iteration)
        if overflow:
            _log.debug("iteration %d: float16 overflowed at scale %g", iteration + 1, scaler.get_scale())
            self.optimizers.skip()
        else:
            self.optimizers.step()
        scaler.update()

    def _check(self, loss: float, iteration: int) -> None:
        broken = self._broken_gradient()
        if math.isfinite(loss) and broken is None:
            return
        check_positions(self.model, iteration)
        what = "a finite loss" if not math.isfinite(loss) else "finite gradients"
        where = f"; the first broken gradient is that of {broken}" if broken else ""
        got = f"NaN or infinity in iteration {iteration + 1}{where}"
        fix = "Lower lr or position_lr; what was written before is intact."
        raise TrainingError("train", needed=what, got=got, fix=fix)

    def _broken_gradient(self) -> str | None:
        """The first parameter, in the order of back-propagation, whose gradient is not finite."""
        named = [(name, p.grad) for name, p in self.model.named_parameters() if p.grad is not None]
        gradients = [gradient for _, gradient in named]
        if bool(torch.nn.utils.get_total_norm(gradients).isfinite()):
            return None
        broken = (name for name, gradient in reversed(named) if not bool(gradient.isfinite().all()))
        return next(broken, None)  # finite gradients may have an infinite norm


def check_positions(model: nn.Module, done: int) -> None:
    """Nothing, if all positions are finite after `done` iterations.

    Raises:
        TrainingError: some are not.
    """
    for name, layer in irregular_layers(model).items():
        if not bool(layer.positions.isfinite().all()):
            got = f"NaN or infinity after iteration {done}"
            raise TrainingError(name, needed="finite positions", got=got, fix="Lower position_lr.")
