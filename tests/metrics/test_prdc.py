import numpy as np
import pytest
import torch
from torch import Tensor

from fmlab.metrics.metric import FeatureRows
from fmlab.metrics.prdc import PrecisionRecallDensityCoverage, distance_blocks

NAMES = ("precision", "recall", "density", "coverage")


def normal(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def measured(reference: Tensor, rows: Tensor, batch_size: int = 64, order: Tensor | None = None) -> dict[str, float]:
    metric = PrecisionRecallDensityCoverage(reference, len(rows))
    for indices in (torch.arange(len(rows)) if order is None else order).split(batch_size):
        metric.update(rows[indices], indices)
    return {key: float(value) for key, value in metric.compute().items()}


def test_points_on_a_line_by_hand() -> None:
    reference = torch.arange(8.0)[:, None]
    rows = torch.tensor([-10.0, -3.5, 0.4, 3.5, 9.0, 40.0])[:, None]
    # Third neighbours: the radii of 0..7 are 3, 2, 2, 2, 2, 2, 2, 3, so the reference's balls cover [-3, 10].
    # Fifth neighbours: 5, 4, 3, 3, 3, 3, 4, 5, open; -3.5 lies in the ball of 0 alone, 0.4 in those of 0 to 3,
    # 3.5 in all eight, 9 in those of 6 (4) and 7 (5): (1 + 4 + 8 + 2) / (5 * 6).
    # Radii of the rows: 13.5, 7, 8.6, 7, 12.5, 36.5: the ball of 3.5 holds all of the reference.
    values = measured(reference, rows)
    assert values["precision"] == pytest.approx(3 / 6)
    assert values["recall"] == 1
    assert values["density"] == pytest.approx(15 / 30)
    assert values["coverage"] == 1
    assert values["precision_std"] == pytest.approx(np.sqrt(0.25 / 6))
    assert values["density_std"] == pytest.approx(np.std(np.array([0, 1, 4, 8, 2, 0]) / 5) / np.sqrt(6))


def test_they_are_what_their_papers_define() -> None:
    reference, rows = normal(60, 3, seed=1).double(), 0.8 * normal(45, 3, seed=2).double() + 0.4

    def radius(of: Tensor, index: int, k: int) -> float:
        return sorted(float((of[index] - other).norm()) for j, other in enumerate(of) if j != index)[k - 1]

    def share_inside(points: Tensor, balls: Tensor) -> float:
        radii = [radius(balls, j, 3) for j in range(len(balls))]
        return float(np.mean([any((x - y).norm() <= r for y, r in zip(balls, radii)) for x in points]))

    radii = [radius(reference, j, 5) for j in range(60)]
    inside = np.array([[float((x - y).norm()) < r for y, r in zip(reference, radii)] for x in rows])
    values = measured(reference.float(), rows.float())
    assert values["precision"] == pytest.approx(share_inside(rows, reference))
    assert values["recall"] == pytest.approx(share_inside(reference, rows))
    assert values["density"] == pytest.approx(inside.sum() / (5 * 45))
    assert values["coverage"] == pytest.approx(inside.any(axis=0).mean())
    assert all(0.1 < values[name] < 1.5 for name in NAMES)


def test_a_set_has_all_of_itself_and_nothing_of_one_far_away() -> None:
    reference = normal(90, 8)
    assert [measured(reference, reference)[name] for name in NAMES] == pytest.approx([1, 1, 1, 1], abs=1e-12)
    far = measured(reference, reference + 100)
    assert [far[name] for name in NAMES] == [0, 0, 0, 0]


def test_a_collapsed_set_is_precise_and_recalls_little() -> None:
    reference = normal(300, 4, seed=1)
    values = measured(reference, 0.1 * normal(300, 4, seed=2))
    assert values["precision"] == 1
    assert values["recall"] < 0.05
    assert values["density"] > 1.5
    assert values["coverage"] < 0.5


def test_two_sets_of_one_law_have_the_expected_density_and_coverage() -> None:
    # Naeem et al.: E density = 1, E coverage = 1 - (N-1)...(N-k) / ((M+N-1)...(M+N-k)), for any law.
    n, m, k = 40, 30, 5
    expected = 1 - np.prod([(n - i) / (n + m - i) for i in range(1, k + 1)])
    results = [measured(normal(n, 2, seed=2 * seed), normal(m, 2, seed=2 * seed + 1)) for seed in range(150)]
    for name, value in (("density", 1), ("coverage", expected)):
        values = [each[name] for each in results]
        assert abs(np.mean(values) - value) < 4 * np.std(values) / np.sqrt(len(values))
    # The error of precision is that of a mean: the spread of sets is at least as large.
    assert np.mean([each["precision_std"] for each in results]) < np.std([each["precision"] for each in results])


def test_neither_order_nor_batches_nor_a_common_shift_matter() -> None:
    reference, rows = normal(1500, 5, seed=1), normal(1300, 5, seed=2)
    expected = measured(reference, rows)
    shuffled = torch.randperm(1300, generator=torch.Generator().manual_seed(3))
    assert measured(reference, rows, 77, shuffled) == expected
    assert measured(reference + 50, rows + 50) == pytest.approx(expected, abs=0.01)


def test_copies_of_the_reference_count_whatever_block_they_fall_in() -> None:
    reference = normal(1100, 30, seed=1)
    rows = torch.cat([reference[torch.arange(900).flip(0)], reference[:300]])
    values = measured(reference, rows)
    # The fifth neighbour of a row lies on the edge of its ball: a copy of that neighbour is not inside, in any block.
    d = torch.cdist(reference.double(), reference.double(), compute_mode="donot_use_mm_for_euclid_dist")
    balls = (d < d.topk(6, largest=False).values[:, 5, None]).sum(dim=0)
    expected = int(balls[:900].sum() + balls[:300].sum()) / (5 * 1200)
    assert values["density"] == pytest.approx(expected, abs=1e-12)


def test_a_pair_has_one_distance_whatever_the_block() -> None:
    x, y = normal(300, 300, seed=1), normal(200, 300, seed=2)
    whole = torch.cat(list(distance_blocks(x, y)))
    for start, size in ((0, 1), (7, 3), (100, 64)):
        (part,) = distance_blocks(x[start : start + size], y)
        assert torch.equal(part, whole[start : start + size])
    exact = torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist").square()
    torch.testing.assert_close(whole, exact.float(), rtol=1e-6, atol=0)


def test_rows_that_blew_up_give_nan() -> None:
    rows = normal(20, 3)
    rows[3, 1] = float("inf")
    assert all(np.isnan(value) for value in measured(normal(30, 3, seed=1), rows).values())


def test_the_kept_rows_have_a_bound_and_are_the_same_in_any_batches() -> None:
    rows = torch.arange(400.0)[:, None]

    class Chosen(FeatureRows):
        def compute(self) -> Tensor:
            return self.gathered()

    chosen = []
    for batch_size in (1, 30, 400):
        metric = Chosen(rows[:2], 400, limit=50)
        for indices in torch.randperm(400, generator=torch.Generator().manual_seed(batch_size)).split(batch_size):
            metric.update(rows[indices], indices)
        assert sum(len(part) for part in metric.rows) == 50
        chosen.append(metric.compute())
    assert torch.equal(chosen[0], chosen[1])
    assert torch.equal(chosen[0], chosen[2])
    assert bool((chosen[0].diff(dim=0) > 0).all())
    assert 100 < chosen[0].mean() < 300
