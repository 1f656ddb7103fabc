"""Models of Hugging Face's diffusers as networks; diffusers is imported when one is made."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fmlab.errors import UserError
from fmlab.networks.base import image_shape, require_positive
from fmlab.networks.embeddings import DIFFUSION_STEPS, LAST_STEP, refuse_condition


class DiffusersNetwork(nn.Module):
    """A `UNet2DModel` or `DiTTransformer2DModel` of diffusers as a network `forward(x, t, condition=None)`.

    The model gets the number of a diffusion step, k = 999 - 1000 t, because there noise stands at large k. So one
    that was trained by diffusers (its linear rates, predicting noise) goes with `VP` and `prediction: noise`. The null
    condition is the model's label `num_classes`.

    Args:
        model: The diffusers model; with classes it has one label more than there are classes.
        shape: Channels, height and width of one image.
        num_classes: Number of classes, or None for a network without condition.
        outputs: How many quantities it gives: 2 for `prediction: velocity_and_score`; the model then has twice as many
            channels out as in.
    """

    def __init__(
        self, model: nn.Module, shape: Sequence[int], num_classes: int | None = None, outputs: int = 1
    ) -> None:
        super().__init__()
        self.model, self.num_classes, self.outputs = model, num_classes, outputs
        self.shape = image_shape(shape, type(self).__name__)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """Output of the shape of x, or (B, 2, *shape) with two outputs.

        Args:
            x: Images, shape (B, channels, height, width).
            t: Times in [0, 1], shape (B,), float32 or better.
            condition: Labels in [0, num_classes], shape (B,), int64; None stands for all null.
        """
        labels = self.labels(condition, len(x), x.device)
        output: Tensor = self.model(x, LAST_STEP - DIFFUSION_STEPS * t, class_labels=labels, return_dict=False)[0]
        return output if self.outputs == 1 else output.view(-1, self.outputs, *self.shape)

    def labels(self, condition: Tensor | None, count: int, device: torch.device) -> Tensor | None:
        """The labels (B,) that the model gets, or None.

        Raises:
            UserError: If there are labels and the network has no classes.
        """
        if self.num_classes is None:
            refuse_condition(condition)
            return None
        return torch.full((count,), self.num_classes, device=device) if condition is None else condition


class DiffusersUNet(DiffusersNetwork):
    """The U-Net of diffusers, `UNet2DModel`, with a last convolution that is zero at the start.

    Args:
        shape: Channels, height and width of one image.
        num_classes: Number of classes, or None for a network without condition.
        block_out_channels: Width of each level; each level after the first has half the height and width.
        layers_per_block: Residual blocks of a level on the way down; one more on the way up.
        down_block_types: diffusers' name of each level's blocks on the way down; left out, all levels but the first
            have attention.
        up_block_types: The same on the way up, coarsest level first; left out, they mirror those on the way down.
        attention_head_dim: Channels of an attention head.
        norm_num_groups: Groups of the norms, which divide every width.
        resnet_time_scale_shift: Whether the embedding shifts the norms (`default`) or scales them too (`scale_shift`).
        dropout: Probability of dropout in each block.
        outputs: How many quantities it gives: 2 for `prediction: velocity_and_score`.

    Raises:
        UserError: If diffusers is not installed, a level cannot be halved, or the groups divide a width not.
    """

    def __init__(
        self,
        shape: Sequence[int],
        num_classes: int | None = None,
        block_out_channels: Sequence[int] = (128, 256, 256),
        layers_per_block: int = 2,
        down_block_types: Sequence[str] | None = None,
        up_block_types: Sequence[str] | None = None,
        attention_head_dim: int = 8,
        norm_num_groups: int = 32,
        resnet_time_scale_shift: Literal["default", "scale_shift"] = "default",
        dropout: float = 0.0,
        outputs: int = 1,
    ) -> None:
        channels, rows, columns = image_shape(shape, "DiffusersUNet")
        require_positive(outputs=outputs, block_out_channels=min(block_out_channels, default=0))
        _check_levels(rows, columns, block_out_channels, norm_num_groups)
        down = list(down_block_types or ["DownBlock2D", *["AttnDownBlock2D"] * (len(block_out_channels) - 1)])
        up = list(up_block_types or [name.replace("Down", "Up") for name in reversed(down)])
        model = _model(
            "UNet2DModel",
            sample_size=(rows, columns),
            in_channels=channels,
            out_channels=channels * outputs,
            block_out_channels=tuple(block_out_channels),
            layers_per_block=layers_per_block,
            down_block_types=tuple(down),
            up_block_types=tuple(up),
            attention_head_dim=attention_head_dim,
            norm_num_groups=norm_num_groups,
            resnet_time_scale_shift=resnet_time_scale_shift,
            dropout=dropout,
            num_class_embeds=None if num_classes is None else num_classes + 1,
        )
        _zero(model.conv_out)
        super().__init__(model, shape, num_classes, outputs)


class DiffusersDiT(DiffusersNetwork):
    """The diffusion transformer of diffusers, `DiTTransformer2DModel`, with a last layer that is zero at the start.

    Labels are dropped by the training of this package, so the model's own dropping of them is switched off.

    Args:
        shape: Channels, height and width of one image, which is square.
        num_classes: Number of classes, or None for a network without condition.
        patch_size: Side of the square patches that become tokens; it must divide height and width.
        num_layers: Number of blocks.
        num_attention_heads: Number of attention heads.
        attention_head_dim: Channels of an attention head; tokens are as long as all heads together.
        dropout: Probability of dropout in the blocks.
        outputs: How many quantities it gives: 2 for `prediction: velocity_and_score`.

    Raises:
        UserError: If diffusers is not installed, or the image is not square or cannot be cut into patches.
    """

    def __init__(
        self,
        shape: Sequence[int],
        num_classes: int | None = None,
        patch_size: int = 2,
        num_layers: int = 12,
        num_attention_heads: int = 6,
        attention_head_dim: int = 64,
        dropout: float = 0.0,
        outputs: int = 1,
    ) -> None:
        channels, rows, columns = image_shape(shape, "DiffusersDiT")
        require_positive(patch_size=patch_size, num_layers=num_layers, outputs=outputs)
        if rows != columns or rows % patch_size:
            cause = f"DiffusersDiT takes square images of whole patches of {patch_size}, not {rows} x {columns}"
            raise UserError(cause, key="model.network", hint="DiT takes other rectangles")
        model = _model(
            "DiTTransformer2DModel",
            sample_size=rows,
            in_channels=channels,
            out_channels=channels * outputs,
            patch_size=patch_size,
            num_layers=num_layers,
            num_attention_heads=num_attention_heads,
            attention_head_dim=attention_head_dim,
            dropout=dropout,
            num_embeds_ada_norm=num_classes or 1,  # it adds the null label itself
        )
        for block in model.transformer_blocks:
            block.norm1.emb.class_embedder.dropout_prob = 0.0
        _zero(model.proj_out_2)
        super().__init__(model, shape, num_classes, outputs)

    def labels(self, condition: Tensor | None, count: int, device: torch.device) -> Tensor | None:
        """The labels (B,) that the model gets; without classes, all samples have its only one."""
        labels = super().labels(condition, count, device)
        return torch.zeros(count, dtype=torch.int64, device=device) if labels is None else labels


def _model(name: str, **arguments: Any) -> Any:
    """A model of diffusers."""
    try:
        diffusers = importlib.import_module("diffusers")
    except ImportError as error:
        cause = f"diffusers cannot be imported: {error}"
        raise UserError(cause, key="model.network", hint="pip install diffusers") from error
    return getattr(diffusers, name)(**arguments)


def _zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def _check_levels(rows: int, columns: int, widths: Sequence[int], groups: int) -> None:
    factor = 2 ** (len(widths) - 1)
    if rows % factor or columns % factor:
        raise UserError(
            f"{len(widths)} levels need sides that {factor} divides, not {rows} x {columns}",
            key="model.network.block_out_channels",
            hint="give fewer levels",
        )
    odd = [width for width in widths if width % groups]
    if odd:
        cause = f"{groups} groups do not divide a width of {odd[0]}"
        raise UserError(cause, key="model.network.norm_num_groups", hint="give a divisor of every width")
