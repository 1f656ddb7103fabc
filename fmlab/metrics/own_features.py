"""A feature network of the user's own, by its import path."""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from fmlab.errors import UserError, nearest
from fmlab.metrics.network import FeatureNetwork


class OwnFeatures(FeatureNetwork):
    """An `nn.Module` without constructor arguments, from uint8 images (B, C, H, W) to features (B, D).

    Its weights and the file of its source are hashed, so features that change are never taken for the old ones.
    Parameters it draws at random are drawn from one seed.

    Args:
        path: Import path of the class, such as `my_features.MyFeatures`.
        shape: (channels, height, width) of the images.

    Raises:
        UserError: There is no such class, it cannot be made, or its features are no (B, D).
    """

    resize = "the network's own"
    images_at_once = 256

    def __init__(self, path: str, shape: Sequence[int]) -> None:
        super().__init__()
        kind = _find(path)
        try:
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(0)
                self.network = kind().eval()
            features = self.extract(torch.zeros(2, *shape, dtype=torch.uint8))
        except UserError:
            raise
        except Exception as error:  # whatever the user's code raises
            cause = " ".join(str(error).split())
            raise UserError(f"{path} failed: {type(error).__name__}: {cause}", key="features") from error
        if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != 2:
            shown = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise UserError(f"{path} makes {shown} of 2 images, not features (2, D)", key="features")
        self.name = path.replace(".", "_")
        self.dimension = features.shape[1]
        self.code = _source_hash(kind)
        self.freeze()

    @torch.no_grad()
    def extract(self, images: Tensor) -> Tensor:
        """Features (B, D) of uint8 images (B, C, H, W)."""
        return self.network(images)


def _find(path: str) -> type[nn.Module]:
    module_name, _, name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the user's code raises while it is imported
        cause = " ".join(str(error).split())
        raise UserError(f"{module_name} cannot be imported: {type(error).__name__}: {cause}", key="features") from error
    candidate = getattr(module, name, None)
    if inspect.isclass(candidate) and issubclass(candidate, nn.Module):
        return candidate
    choices = [key for key, value in vars(module).items() if inspect.isclass(value) and issubclass(value, nn.Module)]
    raise UserError(f"{module_name} has no nn.Module {name!r}", key="features", hint=nearest(name, choices))


def _source_hash(kind: type) -> str:
    """SHA-256 (hex) of the file in which a class is written; empty where there is none to read."""
    try:
        return hashlib.sha256(Path(inspect.getfile(kind)).read_bytes()).hexdigest()
    except (TypeError, OSError):
        return ""
