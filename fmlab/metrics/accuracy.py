"""How often a classifier sees in a generated image the class it was made for."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from fmlab.errors import UserError


class ClassAccuracy(Metric):
    """The share of images whose highest logit is that of their label, with the standard error of that share.

    Args:
        num_classes: Classes of the classifier; labels are below it.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    n: Tensor
    right: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.add_state("n", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("right", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Adds class logits (B, num_classes) of images made for the labels, int64 (B,).

        Raises:
            UserError: A label is not one of the classifier's.
        """
        labels = labels.to(self.n.device)
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
            raise UserError(
                f"the classifier knows the labels 0 to {self.num_classes - 1}, not {int(labels.min())} to "
                f"{int(labels.max())}",
                key="labels",
            )
        self.n = self.n + len(labels)
        self.right = self.right + (logits.to(self.n.device).argmax(dim=1) == labels).sum()

    def compute(self) -> dict[str, Tensor]:
        """`accuracy` and `accuracy_std`, float64 scalars."""
        share = self.right.double() / self.n
        return {"accuracy": share, "accuracy_std": (share * (1 - share) / self.n).sqrt()}
