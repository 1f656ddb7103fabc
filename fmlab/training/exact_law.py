"""The law a run regresses on, where it is known: its whole training split, under the draws of its training."""

from __future__ import annotations

from typing import Any

from fmlab.data import DataModule, ImageData, TensorSet
from fmlab.distributions import Empirical
from fmlab.errors import UserError
from fmlab.fields import PosteriorMean
from fmlab.objectives import Independent, SquaredError
from fmlab.paths import GaussianPath
from fmlab.training.generative_module import GenerativeModule
from fmlab.training.sources import NoiseSource


def exact_law(module: GenerativeModule, data: Any, key: str) -> Empirical:
    """The law of the training data, flips included, whose exact field is what the module's loss is least for.

    Args:
        module: What is trained.
        data: The data module it is trained on.
        key: The configuration key or option that asks for it, for errors.

    Raises:
        UserError: If the exact field is not known, naming what stands in the way.
    """
    obstacle = _obstacle(module, data)
    if obstacle is not None:
        raise UserError(f"the exact field is not known: {obstacle}", key=key)
    split = data.split("train")
    labelled = split.labels is not None and module.num_classes is not None
    points = data.on_after_batch_transfer(split.x, 0)
    law = Empirical(points, split.labels if labelled else None, module.num_classes if labelled else None)
    return law.with_mirrored() if type(data).augment is ImageData.augment and data.flip else law


def nearest_law(module: GenerativeModule, data: Any, key: str) -> PosteriorMean:
    """The law of the data themselves where it has a closed form, such as Toy2D's mixtures; else `exact_law`, likewise.

    The law that training examples were drawn from is what a network should learn; the examples' own field, which
    draws nothing but them, is the next best thing known.
    """
    examples = exact_law(module, data, key)
    distribution: Any = getattr(data, "distribution", None)
    return distribution if hasattr(distribution, "posterior") else examples


def _obstacle(module: GenerativeModule, data: Any) -> str | None:
    """Why the exact field of a run cannot be computed, or None if it can."""
    if not isinstance(module, GenerativeModule):
        return f"{type(module).__name__} generates nothing"
    if module.condition_dim is not None:
        return "its conditions are vectors"
    if not isinstance(module.source, NoiseSource):
        return "the source is not Gaussian noise"
    if not isinstance(module.path, GaussianPath):
        return f"{type(module.path).__name__} is no Gaussian path"
    for part, usual in (("coupling", Independent), ("loss", SquaredError)):
        if type(getattr(module, part)) is not usual:
            return f"the {part} is {type(getattr(module, part)).__name__}, not {usual.__name__}"
    if not isinstance(data, DataModule) or not isinstance(data.split("train"), TensorSet):
        return f"the training examples of {type(data).__name__} are not in memory"
    if type(data).augment not in (DataModule.augment, ImageData.augment):
        return f"{type(data).__name__} augments its examples otherwise than by flips"
    return None
