"""The law a run regresses on, where it is known: its whole training split, under the draws of its training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fmlab.data import DataModule, ImageData, TensorSet
from fmlab.distributions import Empirical
from fmlab.errors import UserError
from fmlab.fields import PosteriorMean
from fmlab.objectives import Independent, SquaredError
from fmlab.paths import GaussianPath
from fmlab.random import Purpose, keyed_generator
from fmlab.training.batches import unpack
from fmlab.training.generative_module import GenerativeModule
from fmlab.training.loss_terms import TrainingDraw
from fmlab.training.sources import NoiseSource


def exact_law(module: GenerativeModule, data: Any, key: str, hint: str | None = None) -> Empirical:
    """The law of the training data, flips included, whose exact field is what the module's loss is least for.

    Args:
        module: What is trained.
        data: The data module it is trained on.
        key: The configuration key or option that asks for it, for errors.
        hint: What to do where it is not known, for errors.

    Raises:
        UserError: If the exact field is not known, naming what stands in the way.
    """
    obstacle = _obstacle(module, data)
    if obstacle is not None:
        raise UserError(f"the exact field is not known: {obstacle}", key=key, hint=hint)
    split = data.split("train")
    labelled = split.labels is not None and module.num_classes is not None
    points = data.on_after_batch_transfer(split.x, 0)
    law = Empirical(points, split.labels if labelled else None, module.num_classes if labelled else None)
    return law.with_mirrored() if type(data).augment is ImageData.augment and data.flip else law


def closest_law(module: GenerativeModule, data: Any, key: str, hint: str | None = None) -> PosteriorMean:
    """The law of the data themselves where it has a closed form, such as Toy2D's mixtures; else `exact_law`.

    The law that training examples were drawn from is what a network should learn; the examples' own field, which
    draws nothing but them, is the next best thing known.

    Args:
        module: What is trained.
        data: The data module it is trained on.
        key: The configuration key or option that asks for it, for errors.
        hint: What to do where it is not known, for errors.

    Raises:
        UserError: If neither is known, naming what stands in the way.
    """
    examples = exact_law(module, data, key, hint)
    own: Any = getattr(data, "distribution", None)
    return own if hasattr(own, "posterior") else examples


def _obstacle(module: GenerativeModule, data: Any) -> str | None:
    """Why the exact field of a run cannot be computed, or None if it can."""
    if not isinstance(module, GenerativeModule):
        return f"{type(module).__name__} generates nothing"
    if not isinstance(module.source, NoiseSource):
        return "the source is not Gaussian noise"
    if not isinstance(module.path, GaussianPath):
        return f"{type(module.path).__name__} is no Gaussian path"
    if type(module.coupling) is not Independent:
        return f"the coupling is {type(module.coupling).__name__}, not Independent"
    if type(module.loss) is not SquaredError:
        return f"the loss is {type(module.loss).__name__}, not SquaredError"
    if not isinstance(data, DataModule) or not isinstance(data.split("train"), TensorSet):
        return f"the training examples of {type(data).__name__} are not in memory"
    if type(data).augment not in (DataModule.augment, ImageData.augment):
        return f"{type(data).__name__} augments its examples otherwise than by flips"
    return None


class RepeatableDraws:
    """The draws of training, for measurements that repeat: the same rows, flips, labels, noise and times every time.

    Each of the batches is keyed by its index, whichever process asks for it. Rows are drawn with replacement, so that
    draws are independent; times are those of the end of training.

    Args:
        module: What is trained.
        data: What it is trained on, in memory.
        num_samples: How many draws there are.
        batch_size: Draws a batch; the last one may be smaller.
    """

    def __init__(self, module: GenerativeModule, data: DataModule, num_samples: int, batch_size: int) -> None:
        self.module, self.data = module, data
        self.num_samples, self.batch_size = num_samples, batch_size

    def __len__(self) -> int:
        """The number of batches."""
        return -(-self.num_samples // self.batch_size)

    def batch(self, index: int, device: torch.device | str = "cpu") -> TrainingDraw:
        """The points and conditions of a batch on a device."""
        split, size = self.data.split("train"), min(self.batch_size, self.num_samples - index * self.batch_size)
        draw = self._keyed(index, device)
        rows = torch.randint(len(split), (size,), generator=self._keyed(index, "cpu")(Purpose.ORDER))
        raw = split.__getitems__(rows)
        moved = raw.to(device) if isinstance(raw, Tensor) else tuple(part.to(device) for part in raw)
        batch = unpack(self.data.on_after_batch_transfer(moved, 0))
        batch = batch.replace(data=self.data.augment(batch.data, draw(Purpose.AUGMENT)))
        batch = batch.replace(condition=self.module.drop_labels(batch.condition, draw(Purpose.LABEL_DROPOUT)))
        return self.module.draw_point(batch, draw), batch.condition

    def _keyed(self, index: int, device: torch.device | str) -> Callable[[Purpose], torch.Generator]:
        # One key more than a training step has, so that no step repeats these draws.
        return lambda purpose: keyed_generator(self.module.seed, Purpose.FLOOR, 0, index, purpose, device=device)
