"""Which images of a set were measured."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class SeenImages(Metric):
    """Counts which images of a set have been there, and refuses one that comes twice.

    Args:
        num_images: Images of the whole set.
    """

    full_state_update = False
    counts: Tensor

    def __init__(self, num_images: int) -> None:
        super().__init__()
        self.add_state("counts", torch.zeros(num_images, dtype=torch.uint8), dist_reduce_fx="sum")

    def update(self, indices: Tensor) -> None:
        """Adds the images with these places, int64 (B,).

        Raises:
            ValueError: A place is outside the set or was there before.
        """
        found = torch.bincount(indices.cpu(), minlength=len(self.counts)).to(self.counts.device)
        if len(found) > len(self.counts) or bool((found + self.counts > 1).any()):
            raise ValueError(f"places are to be from 0 to {len(self.counts) - 1}, each of them once")
        self.counts = self.counts + found.to(torch.uint8)

    def compute(self) -> Tensor:
        """How many images have been there."""
        return (self.counts > 0).sum()
