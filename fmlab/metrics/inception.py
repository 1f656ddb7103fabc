"""The Inception network of the published Fréchet distances, through torch-fidelity and with its weights."""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fmlab.errors import UserError
from fmlab.metrics.network import FeatureNetwork, as_colour

WEIGHTS_FILE = "weights-inception-2015-12-05-6726825d.pth"
WEIGHTS_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{WEIGHTS_FILE}"
WEIGHTS_VARIABLE = "FMLAB_INCEPTION"
_SECONDS_WITHOUT_ANSWER = 20.0


class InceptionFeatures(FeatureNetwork):
    """The 2048 pooled activations of torch-fidelity's InceptionV3, which also resizes the images to 299 x 299.

    Grey images are repeated to three channels. Batch norm is folded into the convolutions, and these run with channels
    last: another rounding, in two thirds of the time. The class logits are torch-fidelity's `logits_unbiased`.

    Args:
        weights: File of the weights; without one, `find_weights` looks for it.

    Raises:
        UserError: The weights are not to be had, or the file does not hold them.
    """

    name = "inception"
    dimension = 2048
    resize = "to 299 x 299, bilinear as in TensorFlow 1: corners not aligned, no antialiasing"
    num_classes = 1008
    images_at_once = 64

    def __init__(self, weights: str | Path | None = None) -> None:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        super().__init__()
        path = find_weights(weights)
        try:
            # Read once as plain tensors: torch-fidelity itself would run whatever code the file holds.
            torch.load(path, weights_only=True, map_location="cpu")
            self.network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(path))
        except (RuntimeError, pickle.UnpicklingError, EOFError, AttributeError, TypeError) as error:
            raise UserError(
                f"{path} does not hold torch-fidelity's Inception weights", hint=f"they come from {WEIGHTS_URL}"
            ) from error
        self.freeze()  # the hash is that of the published weights
        for block in [module for module in self.network.modules() if hasattr(module, "conv") and hasattr(module, "bn")]:
            block.conv, block.bn = fuse_conv_bn_eval(block.conv, block.bn), nn.Identity()
        self.to(memory_format=torch.channels_last)

    def extract(self, images: Tensor) -> Tensor:
        """Features (B, 2048) of uint8 images (B, C, H, W), C = 1 or 3."""
        return self.network(as_colour(images, "Inception"))[0]

    def class_logits(self, features: Tensor) -> Tensor:
        """Class logits (B, 1008) of features (B, 2048)."""
        return features @ self.network.fc.weight.T


def find_weights(path: str | Path | None = None) -> Path:
    """Where the weights lie: the path given, $FMLAB_INCEPTION, torch's cache, or there after a download.

    Raises:
        UserError: The file named does not exist, or the download failed.
    """
    named = path or os.environ.get(WEIGHTS_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise UserError(f"there is no file of Inception weights at {named}", hint=f"they come from {WEIGHTS_URL}")
        return Path(named)
    cached = Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS_FILE
    if not cached.is_file():
        _download(cached)
    return cached


def _download(target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"), _impatient():
            if not target.is_file():
                torch.hub.download_url_to_file(WEIGHTS_URL, str(target), progress=False)
    except (OSError, HTTPException, RuntimeError) as error:
        raise UserError(
            f"the Inception weights could not be downloaded from {WEIGHTS_URL} ({error})",
            hint=f"put the file at {target}, or name it in ${WEIGHTS_VARIABLE}; or choose features: domain",
        ) from error


@contextmanager
def _impatient() -> Iterator[None]:
    """Lets a connection that does not answer fail soon; torch's download would wait without end."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SECONDS_WITHOUT_ANSWER)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
