"""Power-function averages of the weights, and those of any width made after training (Karras et al., 2024, EDM2).

The average of exponent gamma after n steps weighs the weights at time tau of training, 0 < tau < n, by the density
(gamma + 1) tau^gamma / n^(gamma + 1): its profile. Its width is the profile's standard deviation over n, `std`, which
is what users name. Training saves a few averages and snapshots of them; any other profile is the combination of saved
ones nearest to it by least squares (their section 3.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from fmlab.errors import UserError
from fmlab.records import RunLayout
from fmlab.records.atomic import make_folder
from fmlab.records.tensors import checksum, open_tensors, write_tensors
from fmlab.training.module import NetworkModule

MAX_STD = 12**-0.5
"""The width of the plain mean of all steps (gamma = 0); wider profiles would weigh the start of training most."""

WORST_MISS = 0.2
"""How much of a profile, by its norm, a reconstruction may miss."""


class Profile(NamedTuple):
    """What an average stands for: so many optimizer steps, and the width of its density as a part of these."""

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


def coefficients(saved: Sequence[Profile], target: Profile) -> list[float]:
    """The weights with which averages of the saved profiles come nearest to the target; they sum to 1.

    The nearest combination alone would shrink what is averaged, by a few per cent where few averages were saved, so its
    weights are divided by their sum (Karras et al. 2024, the authors' code).

    Raises:
        UserError: If even the nearest combination is far from it.
    """
    among, towards = inner_products(saved, saved), inner_products(saved, [target])[:, 0]
    weights = np.linalg.solve(among, towards)
    norm = float(inner_products([target], [target])[0, 0])
    missed = float(max(norm - 2 * weights @ towards + weights @ among @ weights, 0.0) / norm) ** 0.5
    if missed > WORST_MISS:
        raise UserError(
            f"the {len(saved)} averages saved by step {target.step} miss {missed:.0%} of the width {target.std:g}",
            key="ema.std",
            hint="take a width nearer to the saved ones, or train with more power_ema.snapshots",
        )
    return [float(value) for value in weights / weights.sum()]


def snapshots_in(folder: Path) -> dict[int, Path]:
    """The snapshots in a folder by their step."""
    files = sorted(folder.glob("step_*.safetensors"))
    return {int(file.stem.removeprefix("step_")): file for file in files}


def reconstruct(folder: Path, state: Mapping[str, Any], std: float) -> dict[str, Tensor]:
    """The average of any width at a checkpoint's step, from its own averages and the snapshots before it.

    Args:
        folder: The folder of snapshots.
        state: The state of `PowerAverages` in the checkpoint.
        std: The width.

    Returns:
        A tensor for each parameter of the network, of the dtype of the checkpoint's averages.

    Raises:
        UserError: If the width is impossible or too far from what was saved, or a snapshot cannot be read.
    """
    step, current = int(state["step"]), state["averages"]
    stds = [float(name) for name in current]
    # Later snapshots would add nothing: up to this step they are multiples of the checkpoint's own averages.
    earlier = {at: file for at, file in snapshots_in(folder).items() if at < step}
    saved = [Profile(at, own) for at in (*earlier, step) for own in stds]
    weights = iter(coefficients(saved, Profile(step, std)))
    averages: dict[str, Tensor] = {}
    with ExitStack() as stack:
        files = [stack.enter_context(open_tensors(file)) for file in earlier.values()]
        for path, opened in zip(earlier.values(), files):
            recorded = (opened.metadata() or {}).get("crc32")
            if recorded != checksum((name, opened.get_tensor(name)) for name in sorted(opened.keys())):
                raise UserError("is damaged: its tensors are not what was written", key=str(path))
        pieces = [(file, own, next(weights)) for file in files for own in stds]
        last = list(zip(current.values(), weights))
        for name, like in next(iter(current.values())).items():
            total = torch.zeros(like.shape, dtype=torch.float64)
            for file, own, weight in pieces:
                total.add_(file.get_tensor(f"{own}/{name}"), alpha=weight)
            for average, weight in last:
                total.add_(average[name].cpu(), alpha=weight)
            averages[name] = total.to(like.dtype)
    return averages


class PowerAverages(Callback):
    """Averages the parameters with power-function profiles and saves snapshots, for `--ema.std` (Karras et al., 2024).

    Validation does not use these averages. They cost one network's memory each, and each snapshot one network's disk
    space for each width. The averages themselves are at the parameters' own precision and travel in the
    checkpoint; the snapshots lie in `power_ema/` in the run's folder.

    Args:
        stds: The widths to average with, as parts of the training so far, each in (0, 0.288]; two cover a wide range.
        snapshots: How many snapshots to keep of a whole run, evenly spaced. 20 make widths from 0.02 to 0.25; narrower
            ones need more.
        dtype: The precision of the snapshots: float16 halves their size and rounds to 3 digits.
        enabled: Whether to average at all.
    """

    state_key = "PowerAverages"

    def __init__(
        self,
        stds: Sequence[float] = (0.05, 0.10),
        snapshots: int = 20,
        dtype: Literal["float32", "float16"] = "float32",
        enabled: bool = True,
    ) -> None:
        if not stds or len(set(stds)) < len(stds):
            raise UserError(f"the widths must differ, got {list(stds)}", key="power_ema.stds")
        if snapshots < 1:
            raise UserError(f"at least 1, got {snapshots}", key="power_ema.snapshots")
        self.exponents = {str(float(std)): exponent(std) for std in stds}
        self.snapshots, self.dtype, self.enabled = snapshots, getattr(torch, dtype), enabled
        self.step = 0
        self.averages: dict[str, dict[str, Tensor]] = {}
        self._parameters: list[Tensor] = []

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "averages": self.averages}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        averages = state_dict["averages"]
        if set(averages) != set(self.exponents):
            raise UserError(
                f"the checkpoint holds averages of the widths {', '.join(averages)}, not {', '.join(self.exponents)}",
                key="power_ema.stds",
                hint="widths cannot change in the middle of a run; any other can be made afterwards",
            )
        self.step, self.averages = state_dict["step"], averages

    def prepare(self, network: nn.Module) -> None:
        """Makes the averages, from those of a checkpoint where one was loaded, beside the network's parameters."""
        parameters = {name: parameter.detach() for name, parameter in network.named_parameters()}
        self._parameters = list(parameters.values())
        for std in self.exponents:
            start = self.averages.get(std, parameters)
            self.averages[std] = {name: start[name].to(own.device, copy=True) for name, own in parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """One averaging step of every average towards the network's parameters."""
        self.step += 1
        for std, gamma in self.exponents.items():
            average = list(self.averages[std].values())
            torch._foreach_lerp_(average, self._parameters, 1 - decay(gamma, self.step))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == 0:
            self.step, self.averages = 0, {}
        if trainer.global_step != self.step:
            cause = f"power averages begin with the run, which is at step {trainer.global_step}"
            raise UserError(cause, key="power_ema", hint="leave power_ema out, or train a new run")
        self.prepare(cast(NetworkModule, pl_module).network)
        if trainer.is_global_zero:
            folder = RunLayout(Path(trainer.default_root_dir)).power_averages
            make_folder(folder)
            for step, file in snapshots_in(folder).items():
                if step > self.step:  # of steps after the checkpoint, which come again
                    file.unlink()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if trainer.global_step > self.step:  # not while gradients accumulate
            self.update()
            if trainer.is_global_zero and self.is_due(self.step, trainer.estimated_stepping_batches):
                self.write_snapshot(RunLayout(Path(trainer.default_root_dir)).power_averages)

    def is_due(self, step: int, total: float) -> bool:
        """Whether a snapshot belongs to this step of so many; to none of a run without an end."""
        return step * self.snapshots // total > (step - 1) * self.snapshots // total

    def write_snapshot(self, folder: Path) -> None:
        """Writes the averages as they are now."""
        averages = {f"{float(std)}/{name}": x for std, one in self.averages.items() for name, x in one.items()}
        tensors = {name: average.to(self.dtype) for name, average in averages.items()}
        facts = {"crc32": checksum(sorted(tensors.items()))}  # one, as safetensors writes several in any order
        write_tensors(folder / f"step_{self.step:08d}.safetensors", tensors, facts)
