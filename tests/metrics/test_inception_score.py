import numpy as np
import pytest
import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.metrics.classification import ClassAccuracy, InceptionScore
from fmlab.metrics.subset import splits_of


def measured(metric: InceptionScore, logits: Tensor, order: Tensor, batch_size: int) -> dict[str, float]:
    for indices in order.split(batch_size):
        metric.update(logits[indices], indices)
    return {key: float(value) for key, value in metric.compute().items()}


def test_equal_parts_of_a_shuffled_set_whatever_the_batches() -> None:
    for n in (20, 103, 1000):
        split = splits_of(n)
        assert split.bincount().max() - split.bincount().min() <= 1
        assert len(split.unique()) == 10
    # Neither labels that repeat every ten images nor labels in order line up with the splits.
    for labels in (torch.arange(1000) % 10, torch.arange(1000) // 100):
        assert all(len(part.unique()) == 10 for part in labels[split.argsort()].split(100))


def test_undecided_classifications_score_one_and_sharp_ones_the_exponential_of_the_entropy_of_classes() -> None:
    undecided = measured(InceptionScore(7, 100), torch.zeros(100, 7), torch.arange(100), 13)
    assert undecided == pytest.approx({"is": 1, "is_std": 0}, abs=1e-12)
    labels = torch.randint(0, 5, (200,), generator=torch.Generator().manual_seed(0))
    logits = torch.full((200, 5), -1e4)
    logits[torch.arange(200), labels] = 0
    values = measured(InceptionScore(5, 200), logits, torch.arange(200), 64)
    shares = [labels[splits_of(200) == split].bincount(minlength=5).double() / 20 for split in range(10)]
    scores = [float(torch.special.entr(share).sum().exp()) for share in shares]
    assert values["is"] == pytest.approx(np.mean(scores), rel=1e-12)
    assert values["is_std"] == pytest.approx(np.std(scores), rel=1e-9)
    assert 4 < values["is"] < 5


def test_one_split_of_probabilities_by_hand() -> None:
    # Two images, p = (3/4, 1/4) and (1/4, 3/4): the marginal is (1/2, 1/2), and KL = 3/4 log 3/2 + 1/4 log 1/2.
    logits = torch.tensor([[3.0, 1.0], [1.0, 3.0]]).log()
    values = measured(InceptionScore(2, 2, splits=1), logits, torch.arange(2), 2)
    assert values["is"] == pytest.approx(np.exp(0.75 * np.log(1.5) + 0.25 * np.log(0.5)), rel=1e-6)


def test_neither_order_nor_batches_nor_ranks_matter() -> None:
    logits = 3 * torch.randn(150, 6, generator=torch.Generator().manual_seed(1))
    expected = measured(InceptionScore(6, 150), logits, torch.arange(150), 150)
    shuffled = torch.randperm(150, generator=torch.Generator().manual_seed(2))
    assert measured(InceptionScore(6, 150), logits, shuffled, 11) == pytest.approx(expected, rel=1e-12)
    first, second = InceptionScore(6, 150), InceptionScore(6, 150)
    first.update(logits[::2], torch.arange(0, 150, 2))
    second.update(logits[1::2], torch.arange(1, 150, 2))
    first.merge_state(second)
    assert {key: float(value) for key, value in first.compute().items()} == pytest.approx(expected, rel=1e-12)


def test_logits_that_blew_up_give_nan() -> None:
    values = measured(InceptionScore(3, 30), torch.full((30, 3), float("nan")), torch.arange(30), 30)
    assert np.isnan(values["is"])


def test_accuracy_is_the_share_of_labels_that_are_seen_with_its_binomial_error() -> None:
    metric = ClassAccuracy(4)
    logits = torch.eye(4).repeat(25, 1)
    labels = torch.arange(100) % 4
    labels[:20] = (labels[:20] + 1) % 4
    for rows, expected in zip(logits.split(33), labels.split(33)):
        metric.update(rows, expected)
    values = metric.compute()
    assert float(values["accuracy"]) == pytest.approx(0.8)
    assert float(values["accuracy_std"]) == pytest.approx(0.04)
    with pytest.raises(UserError, match="labels 0 to 3, not 0 to 4"):
        metric.update(logits[:2], torch.tensor([0, 4]))
