"""What lets a callback leave a training step alone."""

from __future__ import annotations

from typing import Any


class NoStepHooks:
    """Put first among a callback's bases: of the hooks of a training step it has only those that it defines.

    Lightning enters each of these six hooks of every callback at every step, also those that do nothing, and passes
    over one that is not callable. Entering takes eight function calls: for the command's own callbacks more than half
    of those that Lightning makes beside the network.
    """

    on_train_batch_start: Any = None
    on_before_zero_grad: Any = None
    on_before_backward: Any = None
    on_after_backward: Any = None
    on_before_optimizer_step: Any = None
    on_train_batch_end: Any = None
