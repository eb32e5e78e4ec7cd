"""The processes that train together: most often one; several under `accelerate launch`."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from icnn_core.errors import ArgumentError
from icnn_core.training.config import TrainConfig

_KINDS = ("NO", "MULTI_GPU", "MULTI_CPU")


class Processes:
    """This process and the others, by Hugging Face Accelerate.

    Attributes:
        count, rank: how many there are, and which one this is, from 0.
        device: of this process. With one process it is the device asked for.
        parts: into how many a batch is cut: processes × accumulated parts.

    Raises:
        ArgumentError: this machine or number of processes cannot do what the config asks for.
    """

    def __init__(self, config: TrainConfig, device: torch.device | str) -> None:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
        from accelerate.utils import DistributedDataParallelKwargs

        wanted = torch.device(device)
        if config.precision == "fp16" and wanted.type != "cuda":
            raise _refusal("a CUDA device for precision fp16", wanted.type, "Use bf16, or no.")
        for name in ("DEEPSPEED", "FSDP", "MEGATRON_LM"):  # which Accelerate looks for before it can be asked
            if os.environ.get(f"ACCELERATE_USE_{name}", "").lower() in ("1", "true", "yes", "y", "on", "t"):
                needed = "a launcher that leaves networks whole"
                got = f"ACCELERATE_USE_{name} in the environment"
                raise _refusal(needed, got, f"Unset ACCELERATE_USE_{name}, or launch without it.")
        # Accelerate keeps its settings for the life of a process, and refuses a second run that has others.
        AcceleratorState._reset_state(reset_partial_state=True)
        # A network of the user's own may hold parameters that its loss does not depend on.
        parallel = DistributedDataParallelKwargs(find_unused_parameters=config.model is not None)
        self._accelerator = Accelerator(
            mixed_precision=config.precision,
            cpu=wanted.type == "cpu",
            device_placement=False,
            kwargs_handlers=[parallel],
        )
        if (kind := self._accelerator.distributed_type.value) not in _KINDS:
            raise _refusal(
                "a launcher that leaves networks whole", kind, "Launch without DeepSpeed, FSDP or Megatron."
            )
        self._accelerator.gradient_accumulation_steps = 1  # the environment may say another, and scale losses
        self.count, self.rank = self._accelerator.num_processes, self._accelerator.process_index
        self.device = wanted if self.count == 1 else self._accelerator.device
        self.parts = self.count * config.accumulate
        if config.batch_size % self.parts:
            raise _refusal(
                f"a batch_size that {self.count} processes × {config.accumulate} accumulated parts divide",
                str(config.batch_size),
                "Change one of the three.",
            )
        if config.batch_norm == "sync" and self.count > 1 and self.device.type == "cpu":
            raise _refusal("GPUs for batch_norm sync", "several processes on CPUs", "Use frozen or train.")

    @property
    def is_main(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    @property
    def scaler(self) -> torch.amp.GradScaler | None:
        """Scales losses so that float16 holds their gradients; None in other precisions."""
        return self._accelerator.scaler

    def prepare(self, module: nn.Module) -> nn.Module:
        """The module in the precision asked for, its gradients averaged over the processes."""
        return self._accelerator.prepare_model(module, device_placement=False)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of `loss`, one part's share of a batch's loss, so that those of all parts add up."""
        if self.count > 1:
            loss = loss * self.count  # DistributedDataParallel takes the mean
        self._accelerator.backward(loss)

    def local(self, module: nn.Module, *, is_last: bool) -> AbstractContextManager[Any]:
        """Inside of it gradients stay in this process, but for the last part of a batch."""
        return nullcontext() if is_last else self._accelerator.no_sync(module)

    def sum(self, value: Tensor) -> Tensor:
        """The sum over all processes, in each of them."""
        if self.count == 1:
            return value
        total = value.clone()
        torch.distributed.all_reduce(total)
        return total

    def share_buffers(self, module: nn.Module) -> None:
        """Give every process the first one's buffers, such as statistics that each has trained on its own parts."""
        if self.count > 1:
            for buffer in nn.Module.buffers(module):
                torch.distributed.broadcast(buffer, 0)

    def any(self, flag: bool) -> bool:
        """Whether it is true in any process, in each of them."""
        if self.count == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag), device=self.device)))

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes by rank, in each of them."""
        if self.count == 1:
            return [value]
        from accelerate.utils import gather_object

        return gather_object([value])

    def wait(self) -> None:
        """Until all have come here."""
        self._accelerator.wait_for_everyone()


def leave_processes() -> None:
    """Say goodbye to the other processes, at the end of a program that trained."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _refusal(needed: str, got: str, fix: str) -> ArgumentError:
    return ArgumentError("train", needed=needed, got=got, fix=fix)
