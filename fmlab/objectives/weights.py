"""How much the error counts at each time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor

from fmlab.paths import ProbabilityPath

Space = Literal["velocity", "noise"]
"""In what a module measures its error; the weight of one error differs from space to space by a function of t."""


class Weight(ABC):
    """A factor w(t) >= 0 of the squared error."""

    @abstractmethod
    def __call__(self, t: Tensor, path: ProbabilityPath, space: Space) -> Tensor:
        """The factor of an error in that space, shaped like `t` (B,)."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class UniformWeight(Weight):
    """The error as it is, in the module's own space."""

    def __call__(self, t: Tensor, path: ProbabilityPath, space: Space) -> Tensor:
        return torch.ones_like(t)
