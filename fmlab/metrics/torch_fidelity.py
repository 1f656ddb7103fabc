"""Large feature networks, through torch-fidelity: Inception, DINOv2 (Oquab et al., 2023), CLIP (Radford et al., 2021).

Weights are never random. Inception's are downloaded where they are missing; those of the others have to be there, with
DINOv2's code, which torch-fidelity itself would fetch unasked.
"""

from __future__ import annotations

import os
import pickle
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fmlab.errors import UserError
from fmlab.metrics.network import FeatureNetwork

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILE}"
DINOV2_REPOSITORY = "facebookresearch/dinov2"
DINOV2_URL = "https://dl.fbaipublicfiles.com/dinov2"
_SECONDS_WITHOUT_ANSWER = 20.0
_BROKEN_WEIGHTS = (RuntimeError, pickle.UnpicklingError, EOFError, AttributeError, TypeError, KeyError, ValueError)


def weights_file(network: str, path: str | Path | None, cached: str, url: str) -> Path:
    """The file of a network's weights: `path`, the one that $FMLAB_NETWORK names, or `cached` in torch hub's folder.

    Raises:
        UserError: There is none; it names the file and the `url` it comes from.
    """
    variable = f"FMLAB_{network.upper()}"
    named = path or os.environ.get(variable)
    file = Path(named).expanduser() if named else Path(torch.hub.get_dir()) / "checkpoints" / cached
    if network == "Inception" and not named and not file.is_file():
        _download(file, url)
    if file.is_file():
        return file
    raise UserError(
        f"there are no {network} weights at {file}; they come from {url}",
        key="features",
        hint=f"put the file there, or name it in ${variable}; or choose features: domain",
    )


def _download(target: Path, url: str) -> None:
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SECONDS_WITHOUT_ANSWER)  # torch's download would wait without end
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not target.is_file():
                torch.hub.download_url_to_file(url, str(target), progress=False)
    except (OSError, HTTPException, RuntimeError) as error:
        raise UserError(
            f"the Inception weights could not be downloaded from {url} ({error})",
            hint=f"put the file at {target}, or name it in $FMLAB_INCEPTION; or choose features: domain",
        ) from error
    finally:
        socket.setdefaulttimeout(patience)


@contextmanager
def _holding(path: Path, content: str, url: str) -> Iterator[None]:
    """Within, an error of a reader says that a file does not hold the weights it should."""
    try:
        yield
    except _BROKEN_WEIGHTS as error:
        raise UserError(f"{path} does not hold {content}", key="features", hint=f"they come from {url}") from error


class _LargeNetwork(FeatureNetwork):
    """A network of torch-fidelity, which also resizes the images; grey ones are repeated to three channels."""

    images_at_once = 64
    title: str
    network: Any

    def extract(self, images: Tensor) -> Tensor:
        """Features (B, dimension) of uint8 images (B, C, H, W), C = 1 or 3.

        Raises:
            UserError: They have another number of channels.
        """
        if images.shape[1] not in (1, 3):
            cause = f"{self.title} sees images of 1 or 3 channels, not {images.shape[1]}"
            raise UserError(cause, hint="choose features: random")
        return self.network(images.expand(-1, 3, -1, -1))[0]

    def finish(self, name: str, dimension: int, side: int) -> None:
        """States what the measurement says of it, and freezes it."""
        self.name, self.dimension = name.replace("-", "_"), dimension
        self.resize = f"to {side} x {side}, bilinear as in TensorFlow 1: corners not aligned, no antialiasing"
        self.freeze()


class InceptionFeatures(_LargeNetwork):
    """The 2048 pooled activations of torch-fidelity's InceptionV3.

    Batch norm is folded into the convolutions, and these run with channels last: another rounding, in two thirds of the
    time. The class logits are torch-fidelity's `logits_unbiased`.

    Args:
        weights: File of the weights; without one, $FMLAB_INCEPTION, torch's cache and a download are tried.

    Raises:
        UserError: The weights are not to be had, or the file does not hold them.
    """

    title = "Inception"
    num_classes = 1008

    def __init__(self, weights: str | Path | None = None) -> None:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        super().__init__()
        path = weights_file(self.title, weights, INCEPTION_FILE, INCEPTION_URL)
        with _holding(path, "torch-fidelity's Inception weights", INCEPTION_URL):
            # Read once as plain tensors: torch-fidelity itself would run whatever code the file holds.
            torch.load(path, weights_only=True, map_location="cpu")
            self.network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(path))
        self.finish("inception", 2048, 299)  # before the change: the hash is that of the published weights
        for block in [module for module in self.network.modules() if hasattr(module, "conv") and hasattr(module, "bn")]:
            block.conv, block.bn = fuse_conv_bn_eval(block.conv, block.bn), nn.Identity()
        self.to(memory_format=torch.channels_last)

    def class_logits(self, features: Tensor) -> Tensor:
        """Class logits (B, 1008) of features (B, 2048)."""
        return features @ self.network.fc.weight.T


class DinoV2Features(_LargeNetwork):
    """The class token of one of the DINOv2 networks.

    Args:
        kind: torch-fidelity's name of the network, such as `dinov2-vit-s-14` or `dinov2-vit-l-14`.
        weights: Meta's file; without one, $FMLAB_DINOV2 and torch hub's copy are looked for.

    Raises:
        UserError: The weights or the code are not there, or the file does not hold them.
    """

    title = "DINOv2"

    def __init__(self, kind: str, weights: str | Path | None = None) -> None:
        from torch_fidelity.feature_extractor_base import FeatureExtractorBase
        from torch_fidelity.feature_extractor_dinov2 import MODEL_METADATA, FeatureExtractorDinoV2

        super().__init__()
        entry = MODEL_METADATA[kind]
        url = f"{DINOV2_URL}/{entry}/{entry}_pretrain.pth"
        path = weights_file(self.title, weights, f"{entry}_pretrain.pth", url)

        class Extractor(FeatureExtractorDinoV2):
            """torch-fidelity's extractor round a network that is loaded already."""

            def __init__(self, model: nn.Module) -> None:
                FeatureExtractorBase.__init__(self, kind, ["dinov2"])
                self.feature_extractor_internal_dtype = torch.float32
                self.model = model

        model: Any = _dinov2_model(entry, path, url)
        self.network = Extractor(model)
        self.finish(kind, int(model.embed_dim), FeatureExtractorDinoV2.INPUT_IMAGE_SIZE)


def _dinov2_model(entry: str, weights: Path, url: str) -> nn.Module:
    """The network by the code in torch hub's folder, with the weights of a file."""
    code = Path(torch.hub.get_dir()) / f"{DINOV2_REPOSITORY.replace('/', '_')}_main"
    if not (code / "hubconf.py").is_file():
        raise UserError(
            f"there is no DINOv2 code at {code}; it comes from https://github.com/{DINOV2_REPOSITORY}",
            key="features",
            hint="unpack the repository there; or choose features: domain",
        )
    before = os.environ.get("XFORMERS_DISABLED")
    os.environ["XFORMERS_DISABLED"] = "1"  # plain attention wherever one runs; read while the code is imported
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="xFormers")
            model = torch.hub.load(str(code), entry, source="local", pretrained=False)
    finally:
        os.environ.pop("XFORMERS_DISABLED", None)
        os.environ.update({} if before is None else {"XFORMERS_DISABLED": before})
    with _holding(weights, f"the weights of {entry}", url):
        missing = model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True), False).missing_keys
        if set(missing) - {"mask_token"}:  # which no forward without masks reads
            raise ValueError(f"{missing[0]} is missing")
    return model


class ClipFeatures(_LargeNetwork):
    """The image embeddings of one of OpenAI's CLIP networks.

    Args:
        kind: torch-fidelity's name of the network, such as `clip-vit-b-32` or `clip-vit-l-14`.
        weights: OpenAI's file (TorchScript); without one, $FMLAB_CLIP and torch hub's copy are looked for.

    Raises:
        UserError: The weights are not there, or the file does not hold them.
    """

    title = "CLIP"

    def __init__(self, kind: str, weights: str | Path | None = None) -> None:
        from torch_fidelity.feature_extractor_clip import MODEL_METADATA, MODEL_URLS, FeatureExtractorCLIP

        super().__init__()
        url = MODEL_URLS[kind]
        path = weights_file(self.title, weights, f"{kind}-{MODEL_METADATA[kind]['hash']}.pt", url)
        with _holding(path, "CLIP's weights", url), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*torch.jit.load")  # the format of the weights
            self.network = FeatureExtractorCLIP(kind, ["clip"], str(path))
        self.finish(kind, self.network.model.visual.output_dim, self.network.resolution)
