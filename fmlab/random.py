"""Randomness keyed by what it is for, so that it repeats without any state being saved.

A draw is keyed by integers such as (seed, optimizer step, shard, purpose); the same key gives the same numbers in a
resumed run, in another process and in another order of calls.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import torch

GOLDEN = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio, splitmix64's increment."""

_MASK = (1 << 64) - 1


class Purpose(IntEnum):
    """What a keyed draw is for; each purpose has a stream of its own."""

    ORDER = 1
    NOISE = 2
    TIME = 3
    LABEL_DROPOUT = 4
    COUPLING = 5
    AUGMENT = 6
    TORCH = 7
    VALIDATION = 8
    LABELS = 9
    BRIDGE = 10
    PARTNERS = 11
    FLOOR = 12
    PROBE = 13
    DEQUANTISATION = 14


def fold(*keys: int) -> int:
    """One 63-bit seed from several integers."""
    state = 0
    for key in keys:
        state = scramble((state + int(key) + GOLDEN) & _MASK)
    return state >> 1


def scramble(state: Any) -> Any:
    """splitmix64's finaliser (Steele, Lea and Flood, 2014), one-to-one on 64 bits.

    Args:
        state: An integer in [0, 2^64), or an array of numpy's uint64; the result is of the same type.
    """
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    return state ^ (state >> 31)


def keyed_generator(*keys: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator on `device` whose numbers depend on the keys alone."""
    return torch.Generator(device=device).manual_seed(fold(*keys))


def seed_default_generators(seed: int, device: torch.device) -> None:
    """Seeds what layers such as nn.Dropout draw from on `device`, and the processor's.

    `torch.manual_seed` gives the same numbers, but for each kind of accelerator that is not in use it also writes out
    the call stack: a millisecond and more from within a training step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)
