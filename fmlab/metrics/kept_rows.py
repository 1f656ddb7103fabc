"""Metrics that compare the features themselves: they keep a fixed choice of them, so that memory has a bound."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from fmlab.errors import UserError
from fmlab.metrics.choice import keyed_rows

KEPT_ROWS = 10_000
"""Generated images whose features are kept; of more, a fixed choice."""


class KeptRows(Metric):
    """Keeps the features of a fixed choice of the images, at most 10,000, in the order of the set.

    Which ones follows from the number of images alone, so batches, their order and the number of ranks do not matter.

    Args:
        reference: Reference features (M, D), at least two.
        num_images: Images of the whole set.
        limit: The most rows that are kept.
    """

    is_differentiable = False
    full_state_update = False

    rows: list[Tensor]
    indices: list[Tensor]
    reference: Tensor

    def __init__(self, reference: Tensor, num_images: int, limit: int = KEPT_ROWS) -> None:
        super().__init__()
        if reference.ndim != 2 or len(reference) < 2:
            raise UserError(f"a reference is at least 2 rows (M, D), not {tuple(reference.shape)}")
        self.register_buffer("reference", reference.detach().float(), persistent=False)
        self._wanted = torch.zeros(num_images, dtype=torch.bool)
        self._wanted[keyed_rows(num_images, limit)] = True
        self.add_state("rows", [], dist_reduce_fx="cat")
        self.add_state("indices", [], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        """Forgets all rows."""
        super().reset()
        # A rank without any row still has a (0, D) one: torchmetrics cannot gather it beside (B, D) otherwise.
        self.rows.append(self.reference[:0])
        self.indices.append(torch.zeros(0, dtype=torch.int64, device=self.reference.device))

    def update(self, features: Tensor, indices: Tensor) -> None:
        """Adds features (B, D) of the images with these places in the set, int64 (B,)."""
        wanted = self._wanted[indices.cpu()]
        self.rows.append(features.detach()[wanted.to(features.device)].to(self.reference))
        self.indices.append(indices[wanted.to(indices.device)].to(self.reference.device))

    def ordered(self) -> Tensor:
        """The kept rows (N, D), float32, in the order of the set; in `compute` those of all ranks."""
        return dim_zero_cat(self.rows)[dim_zero_cat(self.indices).argsort()]
