"""One process or several (`torchrun`): who this is, and sums over all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import distributed, nn
from torch.nn.parameter import Parameter

from wsol_deploy.train.loader import Share


@dataclass(frozen=True, slots=True)
class World(Share):
    """The processes of a training, and this one's device."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this process writes the files and speaks to the user."""
        return self.rank == 0

    def sum(self, values: Iterable[float]) -> list[float]:
        """Each value summed over all processes."""
        values = list(values)
        if self.size == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(total)
        return total.tolist()

    def sum_gradients(self, parameters: Iterable[Parameter]) -> None:
        """Replace each gradient by its sum over all processes, in one exchange.

        A parameter without a gradient anywhere keeps none.
        """
        if self.size == 1:
            return
        by_dtype: dict[torch.dtype, list[Parameter]] = {}
        for parameter in parameters:
            by_dtype.setdefault(parameter.dtype, []).append(parameter)
        for group in by_dtype.values():
            _sum_gradients(group)

    def broadcast(self, network: nn.Module) -> None:
        """Give every process the leader's weights."""
        if self.size > 1:
            for tensor in network.state_dict().values():
                distributed.broadcast(tensor, src=0)

    def average_buffers(self, network: nn.Module) -> None:
        """Make the running statistics of each process their mean; frozen ones are left alone."""
        running = [
            buffer
            for module in network.modules()
            if module.training
            for buffer in module.buffers(recurse=False)
            if buffer.is_floating_point()
        ]
        if self.size == 1 or not running:
            return
        flat = torch.cat([buffer.flatten() for buffer in running])
        distributed.all_reduce(flat)
        means = (flat / self.size).split([buffer.numel() for buffer in running])
        for buffer, mean in zip(running, means, strict=True):
            buffer.copy_(mean.view_as(buffer))

    def agree(self, text: str) -> str:
        """The leader's text, in every process."""
        if self.size == 1:
            return text
        box = [text]
        distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def join(device: str) -> Iterator[World]:
    """The world that `torchrun` started this process in, or a world of one.

    Args:
        device: `cpu` or `cuda:N`; under `torchrun` each process takes the GPU of its local rank.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield World(device=torch.device(device))
        return
    if device.startswith("cuda"):
        own = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(own)
    else:
        own = torch.device("cpu")
    distributed.init_process_group("nccl" if own.type == "cuda" else "gloo")
    try:
        yield World(distributed.get_rank(), distributed.get_world_size(), own)
    finally:
        distributed.destroy_process_group()


def _sum_gradients(parameters: list[Parameter]) -> None:
    pieces = [
        torch.zeros_like(one).flatten() if one.grad is None else one.grad.flatten()
        for one in parameters
    ]
    has = [float(one.grad is not None) for one in parameters]
    flat = torch.cat([*pieces, torch.tensor(has, device=pieces[0].device, dtype=pieces[0].dtype)])
    distributed.all_reduce(flat)
    sums = flat[: -len(has)].split([one.numel() for one in parameters])
    for parameter, total, count in zip(parameters, sums, flat[-len(has) :].tolist(), strict=True):
        parameter.grad = total.view_as(parameter) if count else None
