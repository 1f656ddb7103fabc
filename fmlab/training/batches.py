"""What a batch is, and which of its pairs are matched together: a batch's own, a larger pool, or all processes'."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from fmlab.errors import UserError
from fmlab.objectives import Coupling
from fmlab.random import Purpose, keyed_generator

Generators = Callable[[Purpose], torch.Generator]
"""The generator for each purpose."""


@dataclass(frozen=True)
class Batch:
    """Data with what belongs to each data point.

    Attributes:
        data: Of shape (B, *event).
        condition: One a data point, labels (B,) or vectors (B, D), or None.
        source: The x_0 that goes with each data point, shaped like `data`, or None.
    """

    data: Tensor
    condition: Tensor | None = None
    source: Tensor | None = None

    def replace(self, **changes: Any) -> Batch:
        """The same with some fields changed."""
        return dataclasses.replace(self, **changes)


def unpack(batch: Any) -> Batch:
    """A tensor, alone or in a list, has no condition, a pair has one; a mapping names `data`, `condition` and `source`.

    Raises:
        UserError: If a batch is anything else.
    """
    if isinstance(batch, Tensor):
        return Batch(batch)
    if isinstance(batch, Mapping):
        if "data" not in batch or not set(batch) <= {"data", "condition", "source"}:
            raise UserError(f"a batch with the keys {', '.join(map(str, batch))}", hint="data, condition, source")
        return Batch(**batch)
    if not isinstance(batch, (list, tuple)) or not 1 <= len(batch) <= 2 or not isinstance(batch[0], Tensor):
        parts = f"of {len(batch)} parts" if isinstance(batch, (list, tuple)) else ""
        raise UserError(f"a batch is a {type(batch).__name__} {parts}".strip(), key="data", hint="x, (x, label), ...")
    return Batch(*batch)


def keyed_generators(stage: Purpose, *keys: int, device: torch.device | str = "cpu") -> Generators:
    """Generators of a stage such as training, whose numbers depend on stage, keys and purpose alone."""
    return lambda purpose: keyed_generator(stage, *keys, purpose, device=device)


def paired_source(
    coupling: Coupling,
    pairs: Batch,
    generators: Generators,
    more: Callable[[int, torch.Generator], Batch],
    across_processes: bool,
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
        more: `more(count, generator)` gives further pairs.
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
    if dist.get_rank() == 0:
        return _scatter(_match(coupling, gathered, missing, generators, more), like=pairs.data)
    return _scatter(None, like=pairs.data)


def _match(
    coupling: Coupling,
    pairs: Batch,
    missing: int,
    generators: Generators,
    more: Callable[[int, torch.Generator], Batch],
) -> Tensor:
    """The source of `pairs` in the order of their data, matched in a pool with `missing` further pairs."""
    assert pairs.source is not None
    if missing == 0:
        return coupling.pair(pairs.data, pairs.source, pairs.condition, generators(Purpose.COUPLING))
    generator = generators(Purpose.PARTNERS)
    further = more(missing, generator)
    # Among equal data points a solver prefers those that come first, so the batch's own must not stand first.
    count = len(pairs.data)
    order = torch.randperm(count + missing, generator=generator, device=generator.device)

    def pool(own: Tensor, other: Tensor) -> Tensor:
        return torch.cat([own, other.to(own)])[order]

    assert further.source is not None
    condition = None
    if pairs.condition is not None and further.condition is not None:
        condition = pool(pairs.condition, further.condition)
    data, source = pool(pairs.data, further.data), pool(pairs.source, further.source)
    matched = coupling.pair(data, source, condition, generators(Purpose.COUPLING))
    return matched[order.argsort()[:count]]


def further_data(data: Any, count: int, generator: torch.Generator) -> Batch:
    """Data drawn at random from the training split, on the generator's device, as a training batch arrives there.

    Args:
        data: The data module.
        count: How many.
        generator: Where the choice comes from.

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


def _gather(part: Tensor | None) -> Any:
    """All processes' tensors in a row, on the first process; elsewhere None."""
    if part is None:
        return None
    parts = [torch.empty_like(part) for _ in range(dist.get_world_size())] if dist.get_rank() == 0 else None
    dist.gather(part.contiguous(), parts, dst=0)
    return None if parts is None else torch.cat(parts)


def _scatter(whole: Tensor | None, like: Tensor) -> Tensor:
    """This process's share, in the order of `_gather`, of what the first process has."""
    share = torch.empty_like(like)
    dist.scatter(share, None if whole is None else list(whole.contiguous().chunk(dist.get_world_size())), src=0)
    return share
