"""Power-function averages of the weights, and those of any width made after training (Karras et al., 2024, EDM2).

The average of exponent gamma after n steps weighs the weights at time tau of training, 0 < tau < n, by the density
(gamma + 1) tau^gamma / n^(gamma + 1): its profile. Its width is the profile's standard deviation over n, `std`, which
is what users name. Training keeps a few averages and snapshots of them; a profile that was not kept is the combination
of kept ones nearest to it by least squares (their section 3.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.records.tensors import open_tensors

MAX_STD = 12**-0.5
"""The width of the plain mean of all steps (gamma = 0); wider profiles would weigh the start of training most."""

WORST_MISS = 0.2
"""How much of a profile, by its norm, a reconstruction may miss."""


class Profile(NamedTuple):
    """What an average stands for.

    Attributes:
        step: The optimizer steps it averages over.
        std: The standard deviation of its density, as a part of these steps.
    """

    step: int
    std: float


def exponent(std: float) -> float:
    """The exponent gamma of the width `std`: std^2 = (gamma + 1) / ((gamma + 2)^2 (gamma + 3)).

    Raises:
        UserError: If the width does not lie in (0, 0.288].
    """
    if not 0 < std <= MAX_STD:
        raise UserError(f"a width lies in (0, {MAX_STD:.3f}], got {std}", key="ema.std", hint="such as 0.05 or 0.10")
    square = std**-2
    return float(np.roots([1.0, 7.0, 16.0 - square, 12.0 - square]).real.max())


def decay(gamma: float, step: int) -> float:
    """The decay of the `step`-th update, counted from 1, which makes the recursion the profile's average."""
    return float((1 - 1 / step) ** (gamma + 1))


def inner_products(left: Sequence[Profile], right: Sequence[Profile]) -> np.ndarray:
    """The integral over training of the product of two densities, for every pair, of shape (len(left), len(right))."""
    step, other = (np.array([[float(one.step) for one in side]]) for side in (left, right))
    gamma, others = (np.array([[exponent(one.std) for one in side]]) for side in (left, right))
    step, gamma = step.T, gamma.T
    early, late = np.minimum(step, other), np.maximum(step, other)
    of_late = np.where(step < other, others, gamma)
    product: np.ndarray = (gamma + 1) * (others + 1) / (gamma + others + 1) * (early / late) ** of_late / late
    return product


def coefficients(kept: Sequence[Profile], wanted: Profile) -> list[float]:
    """The weights with which averages of the kept profiles come nearest to the wanted one.

    Raises:
        UserError: If even the nearest combination is far from it.
    """
    among, towards = inner_products(kept, kept), inner_products(kept, [wanted])[:, 0]
    found = np.linalg.solve(among, towards)
    norm = float(inner_products([wanted], [wanted])[0, 0])
    missed = float(max(norm - 2 * found @ towards + found @ among @ found, 0.0) / norm) ** 0.5
    if missed > WORST_MISS:
        raise UserError(
            f"the {len(kept)} averages kept by step {wanted.step} miss {missed:.0%} of the width {wanted.std:g}",
            key="ema.std",
            hint="take a width nearer to those kept, or train with more power_ema.snapshots",
        )
    return [float(value) for value in found]


def tensor_name(std: float, parameter: str) -> str:
    """The name of one parameter's average in a snapshot."""
    return f"{std}/{parameter}"


def snapshot_file(folder: Path, step: int) -> Path:
    """The snapshot of a step in the folder of snapshots."""
    return folder / f"step_{step:08d}.safetensors"


def snapshots_in(folder: Path) -> dict[int, Path]:
    """The snapshots in a folder by their step."""
    found = sorted(folder.glob("step_*.safetensors"))
    return {int(file.stem.removeprefix("step_")): file for file in found}


def reconstruct(folder: Path, state: Mapping[str, Any], std: float) -> dict[str, Tensor]:
    """The average of any width at a checkpoint's step, from its own averages and the snapshots before it.

    Args:
        folder: The folder of snapshots.
        state: What the checkpoint keeps of `PowerAverages`.
        std: The width.

    Returns:
        A tensor for each parameter of the network, of the dtype of the checkpoint's averages.

    Raises:
        UserError: If the width is impossible or too far from what was kept, or a snapshot cannot be read.
    """
    step, current = int(state["step"]), state["averages"]
    stds = [float(name) for name in current]
    # Later snapshots would add nothing: up to this step they are multiples of the checkpoint's own averages.
    earlier = {at: file for at, file in snapshots_in(folder).items() if at < step}
    kept = [Profile(at, own) for at in (*earlier, step) for own in stds]
    weights = iter(coefficients(kept, Profile(step, std)))
    made: dict[str, Tensor] = {}
    with ExitStack() as stack:
        files = [stack.enter_context(open_tensors(file)) for file in earlier.values()]
        pieces = [(file, own, next(weights)) for file in files for own in stds]
        last = list(zip(current.values(), weights))
        for name, like in next(iter(current.values())).items():
            total = torch.zeros(like.shape, dtype=torch.float64)
            for file, own, weight in pieces:
                total.add_(file.get_tensor(tensor_name(own, name)), alpha=weight)
            for average, weight in last:
                total.add_(average[name].cpu(), alpha=weight)
            made[name] = total.to(like.dtype)
    return made
