"""DINOv2's class token as features (Oquab et al., 2023), resized and scaled by torch-fidelity.

torch-fidelity takes the network's code and weights from torch hub and would fetch both. Here both have to be there.
"""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fmlab.errors import UserError
from fmlab.metrics.network import FeatureNetwork, as_colour
from fmlab.metrics.weights_file import checkpoint_folder, weights_file

WEIGHTS_VARIABLE = "FMLAB_DINOV2"
DEFAULT = "dinov2-vit-l-14"
REPOSITORY = "facebookresearch/dinov2"
_DOWNLOADS = "https://dl.fbaipublicfiles.com/dinov2"


class DinoV2Features(FeatureNetwork):
    """The class token of one of the DINOv2 networks; grey images are repeated to three channels.

    Args:
        kind: torch-fidelity's name of the network, such as `dinov2-vit-s-14` or `dinov2-vit-l-14`.
        weights: Meta's file; without one, $FMLAB_DINOV2 and torch hub's copy are looked for.

    Raises:
        UserError: The weights or the code are not there, or the file does not hold them.
    """

    images_at_once = 64

    def __init__(self, kind: str = DEFAULT, weights: str | Path | None = None) -> None:
        from torch_fidelity.feature_extractor_base import FeatureExtractorBase
        from torch_fidelity.feature_extractor_dinov2 import MODEL_METADATA, FeatureExtractorDinoV2

        super().__init__()
        entry = MODEL_METADATA[kind]
        file, url = f"{entry}_pretrain.pth", f"{_DOWNLOADS}/{entry}/{entry}_pretrain.pth"
        path = weights_file("DINOv2", weights, WEIGHTS_VARIABLE, checkpoint_folder() / file, url)

        class Extractor(FeatureExtractorDinoV2):
            """torch-fidelity's extractor round a network that is loaded already."""

            def __init__(self, model: nn.Module) -> None:
                FeatureExtractorBase.__init__(self, kind, ["dinov2"])
                self.feature_extractor_internal_dtype = torch.float32
                self.model = model

        model: Any = _model(entry, path, url)
        self.network = Extractor(model)
        self.name = kind.replace("-", "_")
        self.dimension = int(model.embed_dim)
        side = FeatureExtractorDinoV2.INPUT_IMAGE_SIZE
        self.resize = f"to {side} x {side}, bilinear as in TensorFlow 1: corners not aligned, no antialiasing"
        self.freeze()

    def extract(self, images: Tensor) -> Tensor:
        """Features (B, dimension) of uint8 images (B, C, H, W), C = 1 or 3."""
        return self.network(as_colour(images, "DINOv2"))[0]


def _model(entry: str, weights: Path, url: str) -> nn.Module:
    """The network by the code in torch hub's folder, with the weights of a file."""
    code = Path(torch.hub.get_dir()) / f"{REPOSITORY.replace('/', '_')}_main"
    if not (code / "hubconf.py").is_file():
        raise UserError(
            f"there is no DINOv2 code at {code}; it comes from https://github.com/{REPOSITORY}",
            key="features",
            hint="unpack the repository there; or choose features: domain",
        )
    with _without_xformers(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="xFormers")
        model = torch.hub.load(str(code), entry, source="local", pretrained=False)
    try:
        loaded = model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True), strict=False)
        complete = set(loaded.missing_keys) <= {"mask_token"}  # which no forward without masks reads
    except (RuntimeError, pickle.UnpicklingError, EOFError, AttributeError, TypeError):
        complete = False
    if not complete:
        raise UserError(f"{weights} does not hold the weights of {entry}", key="features", hint=f"they come from {url}")
    return model


@contextmanager
def _without_xformers() -> Iterator[None]:
    """Plain attention wherever one runs, as torch-fidelity has it; what DINOv2's code asks while it is imported."""
    before = os.environ.get("XFORMERS_DISABLED")
    os.environ["XFORMERS_DISABLED"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["XFORMERS_DISABLED"]
        else:
            os.environ["XFORMERS_DISABLED"] = before
