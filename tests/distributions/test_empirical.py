"""The law of a finite set against sums over its points, one at a time (facts F7, F9)."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fmlab.distributions import Empirical, GaussianMixture
from fmlab.errors import UserError

FLOAT64 = torch.float64


def close_points(n: int = 60, d: int = 12) -> Tensor:
    """Half of them a hundredth apart, where rounding the exponent changes who wins."""
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(n, d, generator=generator) * 2 - 1
    points[: n // 2] = points[0] + 0.01 * torch.randn(n // 2, d, generator=generator)
    return points


def noised(points: Tensor, alpha: float, beta: float, n: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return alpha * points[:n] + beta * torch.randn(n, *points.shape[1:], generator=generator)


def factors(n: int, alpha: float, beta: float) -> tuple[Tensor, Tensor]:
    return torch.full((n, 1), alpha, dtype=FLOAT64), torch.full((n, 1), beta, dtype=FLOAT64)


def by_hand(x: Tensor, points: Tensor, alpha: float, beta: float) -> tuple[list[list[float]], list[list[float]]]:
    """Bayes' rule point by point in Python's own numbers: expected data and expected noise."""
    data, noise = [], []
    for row in x.tolist():
        exponents = [
            -sum((a - alpha * b) ** 2 for a, b in zip(row, point)) / (2 * beta**2) for point in points.tolist()
        ]
        shares = [math.exp(exponent - max(exponents)) for exponent in exponents]
        mean = [
            math.fsum(s * z for s, z in zip(shares, column)) / math.fsum(shares) for column in zip(*points.tolist())
        ]
        data.append(mean)
        noise.append([(a - alpha * m) / beta for a, m in zip(row, mean)])
    return data, noise


@pytest.mark.parametrize("beta", [1.0, 0.5, 0.1, 0.02, 0.002])
@pytest.mark.parametrize("dtype", [torch.float32, FLOAT64])
def test_the_posterior_is_bayes_rule(beta: float, dtype: torch.dtype) -> None:
    """E[z | x] and E[eps | x], to the precision of the point that is asked about, down to beta = 0.002."""
    points, alpha = close_points(), math.sqrt(1 - beta**2) if beta < 1 else 0.3
    x = noised(points, alpha, beta).to(dtype)
    data, noise, score = Empirical(points, chunk_size=16).posterior(x, *factors(5, alpha, beta))
    expected_data, expected_noise = (torch.tensor(part, dtype=FLOAT64) for part in by_hand(x, points, alpha, beta))
    tolerance = 1e-6 if dtype == torch.float32 else 1e-9
    torch.testing.assert_close(data.double(), expected_data, rtol=0, atol=tolerance)
    torch.testing.assert_close(noise.double(), expected_noise, rtol=tolerance, atol=tolerance)
    assert data.dtype == noise.dtype == dtype
    assert score is None


def test_a_finite_set_is_a_mixture_of_points() -> None:
    """F9: the same posterior as the mixture of Gaussians of covariance 0."""
    points = close_points(9, 3).double()
    mixture = GaussianMixture(torch.ones(9), points, torch.zeros(9, 3, 3, dtype=FLOAT64))
    alpha, beta = torch.rand(40, 1, dtype=FLOAT64), torch.rand(40, 1, dtype=FLOAT64)
    x = torch.randn(40, 3, dtype=FLOAT64)
    data, noise, _ = Empirical(points).posterior(x, alpha, beta)
    other_data, other_noise, _ = mixture.posterior(x, alpha, beta)
    torch.testing.assert_close(data, other_data, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(noise, other_noise, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("size", [1, 7, 60, 1000])
def test_the_size_of_the_chunks_changes_nothing(size: int) -> None:
    points, labels = close_points(), torch.arange(60) % 3
    x, scales = noised(points, 0.8, 0.3), factors(5, 0.8, 0.3)
    whole, parts = (Empirical(points, labels, chunk_size=chunk).with_mirrored() for chunk in (10_000, size))
    torch.testing.assert_close(parts.posterior(x, *scales)[0], whole.posterior(x, *scales)[0])
    torch.testing.assert_close(
        parts.restricted(1).posterior(x, *scales)[0], whole.restricted(1).posterior(x, *scales)[0]
    )


class LargestTensor(TorchDispatchMode):
    """Remembers the size of the largest tensor that any operation makes."""

    numel = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = function(*args, **(kwargs or {}))
        if isinstance(output, Tensor) and output.data_ptr() not in {
            a.data_ptr() for a in args if isinstance(a, Tensor)
        }:
            self.numel = max(self.numel, output.numel())
        return output


def test_memory_is_bounded_however_many_points_there_are() -> None:
    law = Empirical(torch.randn(5000, 3, 2, 2), chunk_size=100).with_mirrored()
    with LargestTensor() as largest, torch.no_grad():
        law.posterior(torch.randn(20, 12), *factors(20, 0.5, 0.5))
    assert 0 < largest.numel <= 100 * 20


def test_mirrored_points_are_points() -> None:
    images = torch.rand(6, 2, 3, 4)
    law, both = Empirical(images).with_mirrored(), Empirical(torch.cat([images, images.flip(-1)]))
    assert len(law) == len(both) == 12
    x, scales = torch.randn(8, 24), factors(8, 0.6, 0.5)
    torch.testing.assert_close(law.posterior(x, *scales)[0], both.posterior(x, *scales)[0])
    drawn = law.sample(2000, torch.Generator().manual_seed(0))
    which = (drawn[:, None] == both.points).flatten(2).all(2)
    assert (which.sum(1) == 1).all(), "every draw is an image or a mirror image"
    assert which.double().mean(0).sub(1 / 12).abs().max() < 4 * math.sqrt(1 / 12 / 2000)


def test_the_ends_of_time_give_numbers() -> None:
    """F7: no data in x leaves the mean of all points; no noise in x, the nearest one."""
    points = close_points()
    law, x = Empirical(points), torch.cat([points[7:9] * 0.999, 50 * points[40:41]])
    data, noise, _ = law.posterior(x, *factors(3, 1.0, 0.0))
    nearest = torch.cdist(x, points).argmin(1)
    assert torch.equal(data, points[nearest])
    assert nearest[:2].tolist() == [7, 8]
    assert (noise == 0).all()
    data, noise, _ = law.posterior(x, *factors(3, 0.0, 1.0))
    torch.testing.assert_close(data, points.mean(0).expand(3, -1))
    torch.testing.assert_close(noise, x)
    for beta in (1e-3, 1e-8, 1e-30, 1e-200):
        data, noise, _ = law.posterior(1e4 * x, *factors(3, 1.0, beta))
        assert data.isfinite().all()


def test_the_derivative_is_the_posterior_covariance() -> None:
    """d E[z | x] / dx = alpha / beta^2 Cov(z | x), through every chunk."""
    points = torch.randn(30, 2, dtype=FLOAT64)
    law, x = Empirical(points, chunk_size=4), torch.randn(1, 2, dtype=FLOAT64)
    scales = factors(1, 0.7, 0.5)
    jacobian = torch.autograd.functional.jacobian(lambda y: law.posterior(y, *scales)[0], x)[0, :, 0]
    share = (-(x - 0.7 * points).square().sum(1) / (2 * 0.25)).softmax(0)
    mean = share @ points
    covariance = (points - mean).mT @ (share[:, None] * (points - mean))
    torch.testing.assert_close(jacobian, 0.7 / 0.25 * covariance)


def test_classes_are_slices_of_the_points() -> None:
    points, labels = torch.randn(50, 2), torch.randint(0, 3, (50,))
    law = Empirical(points, labels, num_classes=5)
    assert law.num_classes == 5
    for label in range(3):
        of_class = law.restricted(label)
        assert set(map(tuple, of_class.points.tolist())) == set(map(tuple, points[labels == label].tolist()))
        x, scales = torch.randn(4, 2), factors(4, 0.5, 0.4)
        expected = Empirical(points[labels == label]).posterior(x, *scales)[0]
        torch.testing.assert_close(of_class.posterior(x, *scales)[0], expected)
    for wrong in (3, 5, -1):
        with pytest.raises(UserError, match="no point of class"):
            law.restricted(wrong)
    with pytest.raises(UserError, match="no labels"):
        law.restricted(0).restricted(0)
    x, label = law.sample_labelled(300, torch.Generator().manual_seed(2))
    assert torch.equal(x, law.sample(300, torch.Generator().manual_seed(2)))
    assert all(tuple(p) in set(map(tuple, points[labels == y].tolist())) for p, y in zip(x.tolist(), label))


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"points": torch.zeros(0, 2)}, "shape"),
        ({"points": torch.zeros(3)}, "shape"),
        ({"points": torch.zeros(3, 2), "labels": torch.zeros(2, dtype=torch.int64)}, "labels"),
        ({"points": torch.zeros(3, 2), "labels": torch.zeros(3)}, "labels"),
        ({"points": torch.zeros(3, 2), "labels": torch.tensor([0, 1, 2]), "num_classes": 2}, "0 to 1"),
        ({"points": torch.zeros(3, 2), "chunk_size": 0}, "chunk_size"),
    ],
)
def test_what_is_no_labelled_set_is_refused_in_one_line(arguments: dict[str, Any], what: str) -> None:
    with pytest.raises(UserError, match=what) as caught:
        Empirical(**arguments)
    assert "\n" not in str(caught.value)


def test_points_may_be_written_out_and_moved() -> None:
    law = Empirical([[0.0, 1.0], [2.0, 3.0]], [1, 0])
    assert law.shape == (2,)
    assert law.to("cpu").restricted(1).points.tolist() == [[0.0, 1.0]]
    assert law.sample(3).dtype == torch.float32
    with pytest.raises(UserError, match="log-density"):
        law.log_density(torch.zeros(1, 2))
