"""Which draw of the source goes with which data point: matched in a batch, in a larger pool, or over all processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from fmlab.errors import UserError
from fmlab.objectives import Coupling
from fmlab.random import Purpose
from fmlab.training.module import Batch, Generators, unpack

FurtherPairs = Callable[[int, torch.Generator], Batch]
"""`more(count, generator)`: further data with draws of the source."""


def paired_source(
    coupling: Coupling, pairs: Batch, generators: Generators, more: FurtherPairs, across_processes: bool
) -> Tensor:
    """A batch's draws of the source in the order in which they go with its data.

    Where the coupling matches more pairs than the processes bring, the pool is filled with further data of the training
    split and as many further draws of the source, all of them are matched one to one, and the sources of the batch's
    own data are returned. Nothing distinguishes the batch's data from the rest, so these sources follow the source's
    law; to choose for the batch alone among more draws than data would favour draws that lie near the data. (A batch
    has no row of its split twice, and the rest may: measured, the variance of normal sources is greater by
    3 batch / (split x pool).)

    Args:
        coupling: What matches.
        pairs: This process's data, conditions and draws of the source.
        generators: The generator for each purpose.
        more: Gives further pairs.
        across_processes: Whether all processes come here at once, each with as many pairs. One of them then matches for
            all: two might break a tie differently.

    Raises:
        UserError: If the batches bring more pairs than are to be matched together.
    """
    shared = across_processes and coupling.across_ranks and dist.is_initialized() and dist.get_world_size() > 1
    batch_length = len(pairs.data) * (dist.get_world_size() if shared else 1)
    missing = 0 if coupling.batch_size is None else coupling.batch_size - batch_length
    if missing < 0:
        raise UserError(
            f"{coupling.batch_size} pairs are fewer than the {batch_length} of a training batch",
            key="coupling.batch_size",
            hint=f"at least {batch_length}; left out, it is the training batch's own",
        )
    if not shared:
        return _match(coupling, pairs, missing, generators, more)
    gathered = Batch(*(_gather(part) for part in (pairs.data, pairs.condition, pairs.source)))
    shares = None
    if dist.get_rank() == 0:
        matched = _match(coupling, gathered, missing, generators, more)
        shares = list(matched.contiguous().chunk(dist.get_world_size()))
    share = torch.empty_like(pairs.data)
    dist.scatter(share, shares, src=0)
    return share


def _gather(part: Tensor | None) -> Any:
    """All processes' tensors in a row, on the first process; elsewhere None."""
    if part is None:
        return None
    parts = [torch.empty_like(part) for _ in range(dist.get_world_size())] if dist.get_rank() == 0 else None
    dist.gather(part.contiguous(), parts, dst=0)
    return None if parts is None else torch.cat(parts)


def _match(coupling: Coupling, pairs: Batch, missing: int, generators: Generators, more: FurtherPairs) -> Tensor:
    """The source of `pairs` in the order of their data, matched in a pool with `missing` further pairs."""
    assert pairs.source is not None
    if missing == 0:
        return coupling.pair(pairs.data, pairs.source, pairs.condition, generators(Purpose.COUPLING))
    generator = generators(Purpose.PARTNERS)
    further = more(missing, generator)
    # Among equal data points a solver prefers those that come first, so the batch's own must not stand first.
    count = len(pairs.data)
    order = torch.randperm(count + missing, generator=generator, device=generator.device)

    def pool(own: Tensor | None, other: Tensor | None) -> Any:
        return None if own is None or other is None else torch.cat([own, other.to(own)])[order]

    data, source = pool(pairs.data, further.data), pool(pairs.source, further.source)
    matched = coupling.pair(data, source, pool(pairs.condition, further.condition), generators(Purpose.COUPLING))
    return matched[order.argsort()[:count]]


def further_data(data: Any, count: int, generator: torch.Generator) -> Batch:
    """Data drawn at random from the training split, on the generator's device, as a training batch arrives there.

    Raises:
        UserError: If the training split is not there or not in memory.
    """
    split: Any = data.split("train") if hasattr(data, "split") else None
    if not isinstance(getattr(split, "x", None), Tensor):  # what a TensorSet has
        cause = "has no training split" if split is None else "does not hold its training data in memory"
        name = "the trainer" if data is None else type(data).__name__
        raise UserError(
            f"{name} {cause} to draw {count} further pairs from",
            key="coupling.batch_size",
            hint="left out, it is the training batch's own",
        )
    device = generator.device
    rows = torch.randint(len(split), (count,), generator=generator, device=device).cpu()
    batch = data.transfer_batch_to_device(split.__getitems__(rows), device, 0)
    return unpack(data.on_after_batch_transfer(batch, 0))
