"""Conditional flow matching as one would write it in a page: the yardstick that `fmlab fit` is held against."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from clock import Clock, write
from torch.nn.functional import mse_loss

from fmlab import networks


@dataclass(frozen=True)
class Recipe:
    """What the loop needs to know, as plain values.

    Attributes:
        network: A class of `fmlab.networks`, and in `network_args` its arguments.
        split: A file with the uint8 images (N, C, H, W) and the labels (N,) to train on.
        clip: The largest norm of the gradient.
        decay: Of the averaged weights, with the usual warm-up.
        autocast: bfloat16 where it pays, as `precision: bf16-mixed` does.
        first: The step at whose end measuring begins.
        last: The step at whose end it ends, and the run with it.
    """

    seed: int
    network: str
    network_args: dict[str, Any]
    split: str
    batch_size: int
    flip: bool
    time_mean: float
    time_std: float
    label_dropout: float
    num_classes: int
    lr: float
    weight_decay: float
    warmup_steps: int
    clip: float
    decay: float
    autocast: bool
    device: str
    first: int
    last: int

    def save(self, file: Path) -> None:
        """Writes it as JSON."""
        file.write_text(json.dumps(asdict(self)))


class BareLoop:
    """The loop, one step at a time.

    Args:
        recipe: What to train.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.device = recipe, torch.device(recipe.device)
        torch.manual_seed(recipe.seed)
        self.images, self.labels = (x.to(self.device) for x in torch.load(recipe.split, weights_only=True))
        self.network = getattr(networks, recipe.network)(**recipe.network_args).to(self.device).train()
        self.parameters = list(self.network.parameters())
        self.averages = list(copy.deepcopy(self.network).requires_grad_(False).parameters())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
        low = torch.autocast(self.device.type, torch.bfloat16)
        self.autocast = low if recipe.autocast else contextlib.nullcontext()
        self.done = 0
        self.position = len(self.images)

    def rows(self) -> torch.Tensor:
        """The next batch of a random permutation."""
        size, batch_size = len(self.images), self.recipe.batch_size
        if self.position + batch_size > size:
            self.order, self.position = torch.randperm(size, device=self.device), 0
        rows = self.order[self.position : self.position + batch_size]
        self.position += batch_size
        return rows

    def step(self) -> None:
        """One optimizer step."""
        recipe, rows = self.recipe, self.rows()
        self.done += 1
        loss = self.loss(self.images[rows], self.labels[rows])
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, recipe.clip)
        rate = schedule(self.done - 1, recipe.warmup_steps, recipe.last)
        self.optimizer.param_groups[0]["lr"] = recipe.lr * rate
        self.optimizer.step()
        self.average(self.done)

    def loss(self, images: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Of one batch, at fresh noise and times."""
        recipe, device, size = self.recipe, self.device, len(images)
        data = images.float() / 127.5 - 1
        if recipe.flip:
            mirrored = torch.rand(size, 1, 1, 1, device=device) < 0.5
            data = torch.where(mirrored, data.flip(-1), data)
        dropped = torch.rand(size, device=device) < recipe.label_dropout
        condition = condition.masked_fill(dropped, recipe.num_classes)
        noise = torch.randn_like(data)
        t = torch.sigmoid(recipe.time_mean + recipe.time_std * torch.randn(size, device=device))
        x = torch.lerp(noise, data, t.view(-1, 1, 1, 1))
        with self.autocast:
            velocity = self.network(x, t, condition)
        return mse_loss(velocity.float(), data - noise)

    @torch.no_grad()
    def average(self, step: int) -> None:
        """Moves the averaged weights, with the usual warm-up."""
        weight = 1 - min(self.recipe.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.averages, self.parameters, weight)


def train(recipe: Recipe) -> Clock:
    """Trains, and returns the clock that watched."""
    loop = BareLoop(recipe)
    clock = Clock(recipe.first, recipe.last, loop.device)
    clock.start(loop.network)
    for step in range(1, recipe.last + 1):
        loop.step()
        clock.tick(step)
    return clock


def schedule(step: int, warmup_steps: int, total_steps: int) -> float:
    """The share of the learning rate at a step counted from 0: a linear warm-up, then half a cosine to zero."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return (1 + math.cos(math.pi * (step - warmup_steps) / (total_steps - warmup_steps))) / 2


if __name__ == "__main__":
    recipe_file, measurement_file = map(Path, sys.argv[1:])
    write(train(Recipe(**json.loads(recipe_file.read_text()))).measurement(), measurement_file)
