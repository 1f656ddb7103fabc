"""Randomness keyed by what it is for, so that it repeats without any state being saved.

A draw is keyed by its purpose and by integers such as the seed, the optimizer step and the shard; the same key gives
the same numbers in a resumed run, in another process and in another order of calls. Different keys give different
numbers: a purpose is always the first of the keys, and no part of a key is cut off.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum
from functools import cache
from typing import Any

import numpy as np
import torch

GOLDEN = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio, splitmix64's increment."""

_MASK = (1 << 64) - 1
_WORDS = 624
"""How many numbers of 32 bits the Mersenne Twister's state has."""


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
    TRAINING = 15


def keyed_generator(purpose: Purpose, *keys: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator on `device` whose numbers depend on the purpose and the keys alone.

    Accelerators count with 64 bits of the key. The processor's Mersenne Twister would keep 32 bits of a seed, so that
    two of some 80,000 seeds would be alike: its whole state is filled from the key instead.
    """
    return _generator(_digest(purpose, *keys), device)


def seed_default_generators(purpose: Purpose, *keys: int, device: torch.device) -> None:
    """Seeds what layers such as nn.Dropout draw from on `device`, and the processor's.

    `torch.manual_seed` would write out the call stack for each kind of accelerator that is not in use: a millisecond
    and more from within a training step.
    """
    digest = _digest(purpose, *keys)
    torch.default_generator.set_state(_generator(digest, "cpu").get_state())
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(_seed(digest))


def fixed_generator(*keys: int) -> torch.Generator:
    """A generator on the CPU for what is drawn once for all, such as the split of a data set or a published table.

    Its numbers are part of what a data set and a measurement are, and never change. They have 32 bits of the keys, so
    that nothing keyed by the seed of a run or of a sample is drawn from it.
    """
    return torch.Generator().manual_seed(fold(*keys))


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


def _digest(*keys: int) -> bytes:
    """64 bits and then a state of the Mersenne Twister, from keys of any size: no two keys are known to agree."""
    return hashlib.shake_128(",".join([str(int(key)) for key in keys]).encode()).digest(8 + 4 * _WORDS)


def _seed(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "little")


def _generator(digest: bytes, device: torch.device | str) -> torch.Generator:
    generator = torch.Generator(device=device)
    if generator.device.type != "cpu":
        return generator.manual_seed(_seed(digest))
    # torch's state: the seed, how far the words are used up (not at all), each word in 64 bits, what normals remember.
    state = np.frombuffer(_fresh_state(), np.uint8).copy()
    state[:8] = np.frombuffer(digest, np.uint8, 8)
    state[24 : 24 + 8 * _WORDS].view(np.uint64)[:] = np.frombuffer(digest, "<u4", _WORDS, 8)
    return generator.set_state(torch.from_numpy(state))


@cache
def _fresh_state() -> bytes:
    return torch.Generator().manual_seed(0).get_state().numpy().tobytes()
