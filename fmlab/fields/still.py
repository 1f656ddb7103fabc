"""A field that costs nothing: what a solver asks of it can be counted, and refused, before there is a network."""

from __future__ import annotations

import torch
from torch import Tensor

from fmlab.fields.base import PathField
from fmlab.paths import FlowAndScore


class StillField(PathField):
    """Velocity and score 0 everywhere on a path."""

    def evaluate(self, x: Tensor, t: Tensor) -> FlowAndScore:
        return FlowAndScore(self.path, x, t, torch.zeros_like(x), torch.zeros_like(x))
