"""Which losses since the last report are not finite, how long ago and in which bins of t."""

from __future__ import annotations

import torch

from fmlab.objectives import LossByTime

NAN, INF = float("nan"), float("inf")


def by_time(*batches: tuple[list[float], list[float]]) -> LossByTime:
    losses_by_time = LossByTime(bins=4)
    for losses, t in batches:
        losses_by_time.add(torch.tensor(losses), torch.tensor(t))
    return losses_by_time


def test_the_first_one_counts() -> None:
    fine = ([1.0, 2.0], [0.1, 0.9])
    assert by_time().ages_of_nonfinite().tolist() == [0, 0, 0, 0, 0]
    assert by_time(fine, fine).ages_of_nonfinite().tolist() == [0, 0, 0, 0, 0]
    losses_by_time = by_time(fine, ([1.0, NAN, 1.0], [0.1, 0.3, 0.6]), ([INF, NAN], [0.4, 0.9]))
    assert losses_by_time.ages_of_nonfinite().tolist() == [0, 2, 0, 1, 2]


def test_spoilt_weights_leave_no_loss_finite() -> None:
    assert by_time(([NAN, NAN], [0.1, 0.3])).ages_of_nonfinite().tolist() == [1, 1, 0, 0, 0]


def test_a_time_that_is_not_finite_counts_everywhere() -> None:
    assert by_time(([1.0, 1.0], [NAN, 0.3])).ages_of_nonfinite().tolist() == [1, 1, 1, 1, 1]


def test_what_is_kept_reports_the_same() -> None:
    whole, other = by_time(([1.0, 2.0], [0.1, 0.9]), ([3.0], [0.5])), LossByTime(bins=4)
    other.restore(*whole.pending())
    later = (torch.tensor([4.0]), torch.tensor([0.2]))
    for one in (whole, other):
        one.add(*later)
        one.add(*later)
        one.forget(1)
    assert torch.equal(whole.take(), other.take())
    assert whole.pending()[0] == []
