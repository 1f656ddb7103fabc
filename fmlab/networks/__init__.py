"""Networks: `forward(x, t, condition=None)`, of the shape of x, zero before any training."""

from fmlab.networks.base import Description, Network, describe
from fmlab.networks.classifier import ClassifierHead
from fmlab.networks.diffusers_models import DiffusersDiT, DiffusersNetwork, DiffusersUNet
from fmlab.networks.dit import DiT
from fmlab.networks.mlp import MLP, PlainMLP, ResidualMLP
from fmlab.networks.unet import UNet

__all__ = [
    "MLP",
    "ClassifierHead",
    "Description",
    "DiT",
    "DiffusersDiT",
    "DiffusersNetwork",
    "DiffusersUNet",
    "Network",
    "PlainMLP",
    "ResidualMLP",
    "UNet",
    "describe",
]
