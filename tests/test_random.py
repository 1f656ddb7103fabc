"""Keyed randomness: no two keys draw alike, whatever their size and purpose; what is fixed stays fixed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from fmlab.random import Purpose, _digest, fixed_generator, fold, keyed_generator, seed_default_generators
from fmlab.solvers import SeededNoise
from fmlab.training.module import keyed_generators


def draw(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(16, generator=generator)


def test_no_two_seeds_are_the_same_image() -> None:
    """torch's CPU generator keeps 32 bits of a seed: by a 63-bit seed, these two images were one."""
    first, second = SeededNoise([26546, 34857]).initial((3, 4, 4))
    assert not torch.equal(first, second)
    # Two numbers of 32 bits tell as much of a state as torch would have kept; here all of them differ.
    starts = {torch.randint(2**62, (), generator=keyed_generator(Purpose.NOISE, seed, 0)).item() for seed in range(9)}
    assert len(starts) == 9
    assert len({_digest(Purpose.NOISE, seed, 0)[8:16] for seed in range(200_000)}) == 200_000


def test_seeds_of_any_size_count() -> None:
    seeds = (0, 1, -1, 2**32, 2**32 + 1, 2**63, 2**64, 2**64 + 1, 2**100)
    draws = [draw(keyed_generator(Purpose.NOISE, seed, 0)) for seed in seeds]
    assert not any(torch.equal(first, second) for first, second in itertools.combinations(draws, 2))


def test_purposes_and_stages_do_not_coincide() -> None:
    """Validation drew what training drew at step 8, the number of its purpose."""
    validation = keyed_generators(Purpose.VALIDATION, 3, 5)
    training = keyed_generators(Purpose.TRAINING, 3, int(Purpose.VALIDATION), 5)
    for purpose in (Purpose.NOISE, Purpose.TIME, Purpose.LABEL_DROPOUT):
        assert not torch.equal(draw(validation(purpose)), draw(training(purpose)))
    keys = [(seed, *rest) for seed in (0, 1, 13) for rest in ((), (0,), (8,), (13,), (0, 2), (13, 2), (8, 0, 2))]
    digests = {_digest(purpose, *key) for purpose in Purpose for key in keys}
    assert len(digests) == len(Purpose) * len(keys)
    assert _digest(1, 23) != _digest(12, 3)


def test_a_key_gives_the_same_numbers_at_every_call() -> None:
    first = keyed_generator(Purpose.NOISE, 7, 1)
    assert torch.equal(draw(first), draw(keyed_generator(Purpose.NOISE, 7, 1)))
    assert not torch.equal(draw(first), draw(keyed_generator(Purpose.NOISE, 7, 1))), "it goes on"
    # Recorded: they may not change from one version of a library to the next.
    numbers = torch.randint(1000, (5,), generator=keyed_generator(Purpose.NOISE, 7, 1)).tolist()
    assert numbers == RECORDED


RECORDED = [101, 518, 221, 818, 662]


def test_the_whole_state_comes_from_the_key() -> None:
    """The generator is a Mersenne Twister in the state that the key says, as numpy's own continues from it."""
    digest, twister = _digest(Purpose.TIME, 4), np.random.RandomState()
    twister.set_state(("MT19937", np.frombuffer(digest, "<u4", 624, 8), 624, 0, 0.0))
    numbers = torch.randint(2**20, (1000,), generator=keyed_generator(Purpose.TIME, 4))
    expected = twister.randint(0, 2**32, 1000, dtype=np.uint32) % 2**20
    assert numbers.tolist() == expected.tolist()


def test_the_numbers_are_independent_and_normal() -> None:
    x = SeededNoise(range(2000)).initial((8,)).double()
    correlations = (x.mT @ x / len(x) - torch.eye(8)).abs()
    assert correlations.max() < 5 * (2 / len(x)) ** 0.5
    neighbours = (x[1:] * x[:-1]).mean(0).abs()
    assert neighbours.max() < 5 / len(x) ** 0.5


def test_layers_draw_by_the_whole_key() -> None:
    def drop(*keys: int) -> torch.Tensor:
        seed_default_generators(Purpose.TORCH, *keys, device=torch.device("cpu"))
        return torch.rand(16)

    assert torch.equal(drop(1, 2), drop(1, 2))
    assert not torch.equal(drop(1, 2), drop(2, 1))
    assert not torch.equal(drop(1, 2), drop(1, 2 + 2**40))


def test_what_defines_data_and_measurements_is_fixed() -> None:
    assert torch.randperm(6, generator=fixed_generator(1, 2)).tolist() == FIXED
    keys = {
        fold(seed, step, shard, p) for seed in range(4) for step in range(50) for shard in range(4) for p in Purpose
    }
    assert len(keys) == 4 * 50 * 4 * len(Purpose)
    assert fold(1, 2) != fold(2, 1)
    assert all(0 <= key < 2**63 for key in keys)


FIXED = [2, 3, 5, 1, 4, 0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_accelerators_count_with_64_bits() -> None:
    seeds = [keyed_generator(Purpose.NOISE, seed, device="cuda").initial_seed() for seed in range(100_000)]
    assert len(set(seeds)) == len(seeds)
    assert max(seeds) > 2**32
