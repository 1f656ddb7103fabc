"""The optimizer and its schedule as a configuration makes them, and how a resumed run takes up other ones.

A checkpoint holds the options of the optimizer (learning rate, weight decay, ...) and the state of the schedule, and a
resume would put them back over what is typed now. So a checkpoint also holds the recipe: the same options as they were
when they were new. Where the recipe of the resumed run differs, its optimizer and schedule are made anew and followed
to the checkpoint's step; they then stand where they would stand had the run had them from its start.
"""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from fmlab.errors import UserError, first_line
from fmlab.training.optimisation import LRSchedulerFactory, WarmupConstant

Recipe = dict[str, Any]

_ENDS = ("total_steps", "T_max")
"""The arguments by which a schedule knows its last step."""


def make_optimizer(optimizer: Optimizer, make_schedule: LRSchedulerFactory | None) -> tuple[Any, Recipe]:
    """The schedule of a new optimizer, None for a constant rate, and the recipe of both."""
    schedule = None if make_schedule is None else make_schedule(optimizer)  # first: it writes options into the groups
    recipe: Recipe = {
        "optimizer": type(optimizer).__name__,
        "groups": [_plain(group) for group in optimizer.param_groups],
        "schedule": None if schedule is None else {"class": type(schedule).__name__, **_plain(vars(schedule))},
    }
    return schedule, recipe


def continue_recipe(
    checkpoint: dict[str, Any], optimizer: Optimizer, schedule: Any, recipe: Recipe, max_steps: int
) -> None:
    """Puts the options of a new optimizer and schedule into a checkpoint, where they are others than the checkpoint's.

    Args:
        checkpoint: The checkpoint, before its optimizer is restored; it is changed.
        optimizer: The optimizer of the resumed run, not yet restored.
        schedule: Its schedule, or None.
        recipe: The recipe of both.
        max_steps: The steps of the resumed run.

    Raises:
        UserError: If the optimizer cannot be taken up in the middle of a run, or the schedule ends before the run.
    """
    before = checkpoint["fmlab"].get("recipe")
    if before is None:
        return
    if before["optimizer"] != recipe["optimizer"]:
        cause = f"the run trains with {before['optimizer']}, whose state {recipe['optimizer']} cannot use"
        raise UserError(cause, key="model.optimizer", hint="leave it out, or begin a new run")
    if len(before["groups"]) != len(recipe["groups"]):
        cause = "the optimizer's groups of parameters cannot change in the middle of a run"
        raise UserError(cause, key="model.weight_decay_on", hint="leave it out, or begin a new run")
    _refuse_ended(before, recipe, max_steps)
    if all(before[key] == recipe[key] for key in ("groups", "schedule")):
        return
    _follow(optimizer, schedule, checkpoint["global_step"])
    for group, new in zip(checkpoint["optimizer_states"][0]["param_groups"], optimizer.param_groups):
        parameters = group["params"]
        group.clear()
        group.update({**new, "params": parameters})
    checkpoint["lr_schedulers"] = [] if schedule is None else [schedule.state_dict()]


def refuse_short_schedule(schedule: Any, max_steps: int) -> None:
    """Refuses a schedule that cannot take as many steps as the run has.

    Raises:
        UserError: If it cannot.
    """
    steps = getattr(schedule, "total_steps", max_steps)
    if not isinstance(schedule, WarmupConstant) and isinstance(steps, int) and steps < max_steps:
        cause = f"the schedule ends at step {steps}, and the run at step {max_steps}"
        raise UserError(cause, key="model.lr_scheduler.total_steps", hint=f"write {max_steps}")


def _refuse_ended(before: Recipe, recipe: Recipe, max_steps: int) -> None:
    """Refuses to prolong a run beyond its schedule, which would climb again, or stay at its end."""
    old, new = before["schedule"] or {}, recipe["schedule"] or {}
    for name in _ENDS:
        end = new.get(name)
        if end is not None and end == old.get(name) and before["max_steps"] <= end < max_steps:
            cause = f"the schedule ends at step {end}, and the prolonged run at step {max_steps}"
            key = f"model.lr_scheduler.{name}"
            raise UserError(cause, key=key, hint=f"add --{key}={max_steps}")


def _follow(optimizer: Optimizer, schedule: Any, steps: int) -> None:
    """Takes a new schedule to a step of the run."""
    if schedule is None:
        return
    if isinstance(schedule, ReduceLROnPlateau):
        cause = "ReduceLROnPlateau follows what was measured, and cannot be changed in the middle of a run"
        raise UserError(cause, key="model.lr_scheduler", hint="leave the optimizer and its schedule as they were")
    if isinstance(schedule, WarmupConstant):  # its rate depends on the step alone
        schedule.last_epoch = steps - 1
        steps = 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the optimizer took no step
        try:
            for _ in range(steps):
                schedule.step()
        except ValueError as error:
            raise UserError(first_line(error), key="model.lr_scheduler") from error


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Those values that are plain: numbers, texts, and tuples, lists and mappings of them."""
    plain = {
        name: float(value) if isinstance(value, Tensor) else value
        for name, value in values.items()
        if not isinstance(value, Tensor) or value.numel() == 1
    }
    return {name: value for name, value in plain.items() if name != "params" and _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, (*value, *value.values())))
    return value is None or type(value) in (bool, int, float, str)
