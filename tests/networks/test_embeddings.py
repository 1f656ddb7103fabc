"""The time must reach a network unrounded and spread out, the null condition as a label like any other."""

import pytest
import torch

from fmlab.errors import UserError
from fmlab.networks.embeddings import ConditionEmbedding, TimeEmbedding, sinusoid


def test_sinusoid_has_unit_pairs_and_the_scaled_time_as_fastest_angle():
    t = torch.tensor([0.0, 0.25, 1.0])
    features = sinusoid(t, 64, time_scale=100.0)
    cosines, sines = features.chunk(2, dim=1)
    assert torch.allclose(cosines**2 + sines**2, torch.ones(3, 32), atol=1e-6)
    assert torch.allclose(sines[:, 0], (100.0 * t).sin(), atol=1e-5)
    assert torch.allclose(sines[:, -1], (100.0 * t * 10000.0 ** (-31 / 32)).sin(), atol=1e-6)


def test_times_that_bfloat16_confuses_stay_apart_under_autocast():
    t = torch.tensor([0.995, 0.998])
    assert t.bfloat16()[0] == t.bfloat16()[1]
    torch.manual_seed(0)
    embedding = TimeEmbedding(32)
    with torch.autocast("cpu", torch.bfloat16):
        features = sinusoid(t, 256)
        embedded = embedding(t).float()
    assert features.dtype == torch.float32
    assert torch.equal(features, sinusoid(t, 256))
    assert (embedded[0] - embedded[1]).norm() > 0.2 * embedded[0].norm()


def test_close_times_stay_distinct_under_autocast():
    torch.manual_seed(0)
    embedding = TimeEmbedding(32)
    with torch.autocast("cpu", torch.bfloat16):
        first, second = embedding(torch.tensor([0.999, 0.998])).float()
    assert (first - second).norm() > 0.05 * first.norm()


def test_float64_times_are_embedded_in_float64_and_half_precision_networks_run():
    assert sinusoid(torch.tensor([0.5], dtype=torch.float64), 8).dtype == torch.float64
    assert TimeEmbedding(8).bfloat16()(torch.tensor([0.5])).dtype == torch.bfloat16


def _rank(time_scale: float) -> int:
    singular = torch.linalg.svdvals(sinusoid(torch.linspace(0, 1, 100), 256, time_scale).double())
    return int((singular > 1e-3 * singular[0]).sum())


def test_time_scale_spreads_the_embedding_over_many_dimensions():
    assert _rank(1.0) <= 6
    assert _rank(1000.0) >= 40


def test_gradients_flow_through_the_time():
    t = torch.tensor([0.3], requires_grad=True)
    TimeEmbedding(8)(t).sum().backward()
    assert t.grad is not None
    assert t.grad.abs() > 0


@pytest.mark.parametrize("frequency_dim", [0, 7])
def test_odd_number_of_features_is_refused(frequency_dim):
    with pytest.raises(UserError, match="even"):
        TimeEmbedding(8, frequency_dim=frequency_dim)


def test_null_is_the_last_row_and_what_none_means():
    table = ConditionEmbedding(8, num_classes=3)
    assert table.embedding_table.weight.shape == (4, 8)
    assert torch.equal(table(None, 5), table(torch.full((5,), 3), 5))
    assert torch.equal(table(torch.tensor([2]), 1)[0], table.embedding_table.weight[2])


def test_null_is_learned_alone():
    table = ConditionEmbedding(8, num_classes=3)
    table(None, 5).sum().backward()
    gradient = table.embedding_table.weight.grad
    assert torch.equal(gradient, torch.tensor([0.0, 0.0, 0.0, 5.0])[:, None].expand(4, 8))


def test_null_of_vectors_is_learned_alone():
    embedding = ConditionEmbedding(8, condition_dim=2)
    with torch.no_grad():
        embedding.null_vector.copy_(torch.tensor([0.5, -1.0]))
    assert torch.equal(embedding(None, 5), embedding(embedding.null_condition.expand(5, 2), 5))
    embedding(torch.randn(5, 2), 5).sum().backward()
    assert embedding.null_vector.grad is None
    embedding(None, 5).sum().backward()
    assert embedding.null_vector.grad.abs().sum() > 0


def test_a_condition_is_of_one_kind():
    for kinds in ({}, {"num_classes": 3, "condition_dim": 2}):
        with pytest.raises(UserError, match="a label or a vector"):
            ConditionEmbedding(8, **kinds)
