"""Which pairs are matched together: a batch's own, a larger pool, or those of all processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from fmlab.errors import UserError
from fmlab.objectives import Coupling, MinibatchOT, SinkhornOT
from fmlab.random import Purpose
from fmlab.training.batches import Batch, unpack

Generators = Callable[[Purpose], torch.Generator]


def paired_source(
    coupling: Coupling,
    pairs: Batch,
    draw: Generators,
    more: Callable[[int, torch.Generator], Batch],
    together: bool,
) -> Tensor:
    """A batch's draws of the source in the order in which they go with its data.

    Where the coupling matches more pairs than the processes bring, the pool is filled with further data of the training
    split and as many further draws of the source, all of them are matched one to one, and only the batch's own pairs
    are kept. Nothing tells the batch's data from the rest, so the sources kept follow the source's law; to choose for
    the batch alone among more draws than data would keep those that lie near the data. (A batch has no row of its split
    twice, and the rest may: measured, the variance of normal sources kept is greater by 3 batch / (split x pool).)

    Args:
        coupling: What matches.
        pairs: This process's data, conditions and draws of the source.
        draw: The generator for each purpose.
        more: `more(count, generator)` gives further pairs.
        together: Whether all processes come here at once, each with as many pairs. One of them then matches for all:
            two might break a tie differently.

    Raises:
        UserError: If the batches bring more pairs than are to be matched together.
    """
    shared = together and coupling.across_ranks and dist.is_initialized() and dist.get_world_size() > 1
    own = len(pairs.data) * (dist.get_world_size() if shared else 1)
    missing = 0 if coupling.batch_size is None else coupling.batch_size - own
    if missing < 0:
        raise UserError(
            f"{coupling.batch_size} pairs are fewer than the {own} of a training batch",
            key="coupling.batch_size",
            hint=f"at least {own}; left out, it is the training batch's own",
        )
    if not shared:
        return _match(coupling, pairs, missing, draw, more)
    gathered = Batch(*(_gather(part) for part in (pairs.data, pairs.condition, pairs.source)))
    if dist.get_rank() == 0:
        return _scatter(_match(coupling, gathered, missing, draw, more), like=pairs.data)
    return _scatter(None, like=pairs.data)


def _match(
    coupling: Coupling, pairs: Batch, missing: int, draw: Generators, more: Callable[[int, torch.Generator], Batch]
) -> Tensor:
    """The source of `pairs` in the order of their data, matched in a pool with `missing` further pairs."""
    assert pairs.source is not None
    if missing == 0:
        return coupling.pair(pairs.data, pairs.source, pairs.condition, draw(Purpose.COUPLING))
    generator = draw(Purpose.PARTNERS)
    pool = _joined(pairs, more(missing, generator))
    assert pool.source is not None
    # Among equal data points a solver prefers by their place, so those of the batch must not stand first.
    order = torch.randperm(len(pool.data), generator=generator, device=generator.device)
    condition = None if pool.condition is None else pool.condition[order]
    matched = coupling.pair(pool.data[order], pool.source[order], condition, draw(Purpose.COUPLING))
    return matched[order.argsort()[: len(pairs.data)]]


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


def warn_of_bias(coupling: Coupling, num_classes: int | None) -> None:
    """Says once if a coupling that takes no notice of conditions trains a model that has them."""
    if num_classes is not None and isinstance(coupling, (MinibatchOT, SinkhornOT)):
        rank_zero_warn(
            f"{type(coupling).__name__} matches without regard to the labels, which biases what the model learns of "
            "each of them: model.coupling=ConditionalOT does not (Cheng and Schwing 2025)"
        )


def _joined(first: Batch, second: Batch) -> Batch:
    def join(one: Tensor | None, other: Tensor | None) -> Tensor | None:
        return None if one is None or other is None else torch.cat([one, other.to(one)])

    data = join(first.data, second.data)
    assert data is not None
    return Batch(data, join(first.condition, second.condition), join(first.source, second.source))


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
