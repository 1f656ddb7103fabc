"""A trained model made by hand: what it generates under labels, vectors and no condition."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fmlab.errors import UserError
from fmlab.inference.trained import Trained
from fmlab.paths import CondOT


class Constant(nn.Module):
    """A velocity that is the condition itself, and zero without one: a sample is its noise plus the condition."""

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        return torch.zeros_like(x) if condition is None else condition.float().reshape(len(x), -1).expand_as(x)


def test_conditions_that_are_vectors_are_taken_in_turn() -> None:
    trained = Trained(Constant(), CondOT(), "velocity", (2,), condition_dim=2)
    vectors = torch.tensor([[1.0, 0.0], [0.0, -2.0]])
    noise = trained.generate(3)
    samples = trained.generate(3, vectors, batch_size=2)
    torch.testing.assert_close(samples - noise, vectors[[0, 1, 0]])
    assert trained.generate(labels=vectors).shape == (2, 2)
    guided = trained.generate(3, vectors, guidance=3.0)
    torch.testing.assert_close(guided - noise, 3 * vectors[[0, 1, 0]])
    for wrong in ([1, 2], torch.zeros(3, 1)):
        with pytest.raises(UserError, match="one vector of 2 numbers per sample"):
            trained.generate(labels=wrong)


def test_labels_are_chosen_from_or_taken_in_turn() -> None:
    """Without a choice every class comes equally often, in order."""
    trained = Trained(Constant(), CondOT(), "velocity", (2,), num_classes=3)
    for num_samples, labels, expected in ((5, None, [0, 0, 1, 1, 2]), (3, [2, 1], [2, 1, 2]), (None, [1], [1])):
        chosen = trained.choose_labels(num_samples, labels)
        assert chosen is not None
        assert chosen.tolist() == expected
    torch.testing.assert_close(
        trained.generate(labels=[2, 1]) - trained.generate(labels=[0, 0]), torch.tensor([[2.0, 2.0], [1.0, 1.0]])
    )
    with pytest.raises(UserError, match="labels are 0 to 2"):
        trained.generate(labels=[3])


def test_a_model_without_conditions_takes_none() -> None:
    trained = Trained(Constant(), CondOT(), "velocity", (2,))
    assert trained.generate(2, steps=1).shape == (2, 2)
    with pytest.raises(UserError, match="trained without labels"):
        trained.generate(labels=[0])
    with pytest.raises(UserError, match="not known"):
        trained.data()
