"""Weights published for DiT (Peebles and Xie, 2023) and SiT (Ma et al., 2024), as networks of this package."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from fmlab.errors import UserError, first_line
from fmlab.inference.exported import Exported, put_weights
from fmlab.networks import DiT
from fmlab.networks.dit import SIZES
from fmlab.networks.embeddings import DIFFUSION_STEPS, LAST_STEP
from fmlab.records.tensors import open_tensors

Convention = Literal["DiT", "SiT"]

_FIRST_OF_TIME = "t_embedder.mlp.0.weight"


def load_official_dit(file: str | Path, convention: Convention, heads: int | None = None) -> DiT:
    """A `DiT` that computes what the official code computes with a state dict that it wrote.

    All sizes are read off the weights. What differs is put right here, so that the network is a plain `DiT` of times
    that run from noise (t = 0) to data (t = 1):

    - The second half of the output channels, a variance, is dropped where it is there (`learn_sigma`).
    - SiT is given t as it is, so `time_scale` is 1. It outputs the velocity on `CondOT`.
    - DiT is given the number k = 0, ..., 999 of a diffusion step, with noise at large k. Here that is k = 999 - 1000 t,
      where the ratio of noise to data on `VP` is that of step k within 5 %. The reversal of time is a reflection of the
      sinusoid's features, and is multiplied into the layer that reads them. It outputs the noise on `VP`.

    The official 256 and 512 pixel models work on the latents of Stable Diffusion's autoencoder (times 0.18215), which
    is not part of this package. DiT's own sampler guides three of the four channels only; here all are guided.

    Args:
        file: A `.pt` file of the official code (of a training checkpoint, its averaged weights), or `.safetensors`.
        convention: Which code wrote it, `DiT` or `SiT`; the names in the file are the same.
        heads: Attention heads, for a width that was not published.

    Raises:
        UserError: If the file cannot be read or is no such state dict.
    """
    network, _ = import_official(file, convention, heads)
    return network


def import_official(file: str | Path, convention: Convention, heads: int | None = None) -> tuple[DiT, Exported]:
    """The same network, and the record with which it can be written as an exported file."""
    arguments, state = _sized(Path(file), convention, heads)
    network = DiT(**arguments)
    put_weights(network, state, f"is no state dict of the official {convention}", key=str(file))
    path, prediction = {"DiT": ("VP", "noise"), "SiT": ("CondOT", "velocity")}[convention]
    init_args = {
        "network": {"class_path": "fmlab.networks.DiT", "init_args": arguments},
        "path": {"class_path": f"fmlab.paths.{path}"},
        "prediction": prediction,
        "num_classes": arguments["num_classes"],
    }
    record = Exported(
        name=Path(file).stem,
        model={"class_path": "fmlab.training.FlowMatching", "init_args": init_args},
        data=None,
        shape=arguments["shape"],
        num_classes=arguments["num_classes"],
        prediction=prediction,
        path=path,
        step=None,
        weights=f"published, of the official {convention} code",
    )
    return network, record


def reversed_time(weight: Tensor) -> Tensor:
    """The weights that read the sinusoid of 1000 t as the given ones read that of k = 999 - 1000 t.

    Args:
        weight: Shape (width, features), for the cosines of k at every frequency, then the sines.
    """
    cosines, sines = weight.double().chunk(2, dim=1)
    half = cosines.shape[1]
    offset = LAST_STEP * torch.exp(-math.log(10000.0) / half * torch.arange(half, dtype=torch.float64))
    cos, sin = offset.cos(), offset.sin()
    return torch.cat([cosines * cos + sines * sin, cosines * sin - sines * cos], dim=1).to(weight.dtype)


def _sized(file: Path, convention: Convention, heads: int | None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The arguments of the `DiT` that a state dict belongs to, and the state as that network takes it."""
    if convention not in ("DiT", "SiT"):
        raise UserError(f"there is no convention {convention!r}", key="as", hint="DiT or SiT")
    state = _read(file)
    try:
        patches, table = state["x_embedder.proj.weight"], state["y_embedder.embedding_table.weight"]
        tokens, last = state["pos_embed"].shape[1], state["final_layer.linear.weight"]
        hidden = state["blocks.0.mlp.fc1.weight"].shape[0]
        time = state[_FIRST_OF_TIME]
    except KeyError as error:
        raise UserError(f"is no state dict of DiT or SiT: it has no {error.args[0]}", key=str(file)) from None
    width, channels, patch_size, _ = patches.shape
    heads_by_width = {size[0]: size[2] for size in SIZES.values()}
    if heads is None and width not in heads_by_width:
        raise UserError(f"how many heads has a width of {width}?", key=str(file), hint="give heads")
    side = math.isqrt(tokens) * patch_size
    arguments = {
        "shape": [channels, side, side],
        "num_classes": len(table) - 1,
        "patch_size": patch_size,
        "width": width,
        "depth": len({name.split(".")[1] for name in state if name.startswith("blocks.")}),
        "heads": heads or heads_by_width[width],
        "mlp_ratio": hidden / width,
        "time_scale": DIFFUSION_STEPS if convention == "DiT" else 1.0,
    }
    if convention == "DiT":
        state[_FIRST_OF_TIME] = reversed_time(time)
    if len(last) == 2 * patch_size**2 * channels:
        for name in ("final_layer.linear.weight", "final_layer.linear.bias"):
            # Rows run over the pixels of a patch, then over the channels.
            state[name] = state[name].unflatten(0, (patch_size**2, 2 * channels))[:, :channels].flatten(0, 1)
    return arguments, state


def _read(file: Path) -> dict[str, Tensor]:
    """A state dict from a file of tensors, or from a file of torch's, where the averaged weights go first."""
    if file.suffix == ".safetensors":
        with open_tensors(file) as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    if not file.is_file():
        raise UserError("there is no such file", key=str(file))
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # the options in a training checkpoint
            content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"cannot be read: {first_line(error)}", key=str(file)) from error
    for name in ("ema", "model"):
        content = content.get(name, content) if isinstance(content, Mapping) else {}
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}
