"""Power-function averages of the weights and snapshots of them, from which any width is made after training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from fmlab.errors import UserError
from fmlab.records import RunLayout
from fmlab.records.tensors import write_tensors
from fmlab.training.generative_module import GenerativeModule
from fmlab.training.power_ema import decay, exponent, snapshot_file, snapshots_in, tensor_name
from fmlab.training.step_hooks import NoStepHooks


class PowerAverages(NoStepHooks, Callback):
    """Averages the parameters with power-function profiles and keeps snapshots, for `--ema.std` (Karras et al., 2024).

    Validation does not use these averages. They cost one network's memory each, and each snapshot one network's disk
    space for each width. The averages themselves are kept at the parameters' own precision and travel in the
    checkpoint; the snapshots lie in `power_ema/` in the run's folder.

    Args:
        stds: The widths to average with, as parts of the training so far, each in (0, 0.288]; two cover a wide range.
        snapshots: How many snapshots to keep of a whole run, evenly spaced. 20 make widths from 0.02 to 0.25; narrower
            ones need more.
        dtype: The precision of the snapshots: float16 halves their size and rounds to 3 digits.
        enabled: Whether to average at all.
    """

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

    @property
    def state_key(self) -> str:
        return "PowerAverages"

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "averages": self.averages}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        kept = state_dict["averages"]
        if set(kept) != set(self.exponents):
            raise UserError(
                f"the checkpoint holds averages of the widths {', '.join(kept)}, not {', '.join(self.exponents)}",
                key="power_ema.stds",
                hint="widths cannot change in the middle of a run; any other can be made afterwards",
            )
        self.step, self.averages = state_dict["step"], kept

    def prepare(self, network: nn.Module) -> None:
        """Makes the averages, from those of a checkpoint where one was loaded, beside the network's parameters."""
        parameters = dict(network.named_parameters())
        self._parameters = [parameter.detach() for parameter in parameters.values()]
        for std in self.exponents:
            begun = self.averages.get(std, parameters)
            self.averages[std] = {
                name: begun[name].detach().to(device=parameter.device, copy=True)
                for name, parameter in parameters.items()
            }

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
            raise UserError(
                f"power averages begin with the run, which is at step {trainer.global_step}",
                key="power_ema",
                hint="leave power_ema out, or train a new run",
            )
        self.prepare(cast(GenerativeModule, pl_module).network)
        if trainer.is_global_zero:
            folder = self.folder(trainer)
            folder.mkdir(parents=True, exist_ok=True)
            for step, file in snapshots_in(folder).items():
                if step > self.step:  # of steps after the checkpoint, which come again
                    file.unlink()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if trainer.global_step > self.step:  # not while gradients accumulate
            self.update()
            if trainer.is_global_zero and self.is_due(self.step, trainer.estimated_stepping_batches):
                self.write_snapshot(self.folder(trainer))

    def is_due(self, step: int, total: float) -> bool:
        """Whether a snapshot belongs to this step of so many; to none of a run without an end."""
        return step * self.snapshots // total > (step - 1) * self.snapshots // total

    def folder(self, trainer: Trainer) -> Path:
        """Where the snapshots lie."""
        return RunLayout(Path(trainer.default_root_dir)).power_averages

    def write_snapshot(self, folder: Path) -> None:
        """Writes the averages as they are now."""
        tensors = {
            tensor_name(float(std), name): average.to(self.dtype)
            for std, averages in self.averages.items()
            for name, average in averages.items()
        }
        write_tensors(snapshot_file(folder, self.step), tensors, {"step": str(self.step)})
