"""LightningDataModules: what is trained on, what generated examples are compared with, and the order of reading."""

from fmlab.data.base import DataModule, ImageData
from fmlab.data.dequantisation import GreyLevels
from fmlab.data.digits import Digits
from fmlab.data.folder import ImageFolder
from fmlab.data.loading import BatchLoader, ResumableLoader
from fmlab.data.order import OrderedBatches, ShardedBatches, device_batch_size
from fmlab.data.pixels import to_float, to_uint8
from fmlab.data.sets import BatchSet, TensorSet
from fmlab.data.super_resolution import SuperResolution
from fmlab.data.torchvision_sets import CIFAR10, FashionMNIST
from fmlab.data.toy2d import Toy2D

__all__ = [
    "CIFAR10",
    "BatchLoader",
    "BatchSet",
    "DataModule",
    "Digits",
    "FashionMNIST",
    "GreyLevels",
    "ImageData",
    "ImageFolder",
    "OrderedBatches",
    "ResumableLoader",
    "ShardedBatches",
    "SuperResolution",
    "TensorSet",
    "Toy2D",
    "device_batch_size",
    "to_float",
    "to_uint8",
]
