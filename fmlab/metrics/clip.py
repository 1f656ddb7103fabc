"""CLIP's image embeddings as features (Radford et al., 2021), through torch-fidelity and with its weights."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

from torch import Tensor

from fmlab.errors import UserError
from fmlab.metrics.network import FeatureNetwork, as_colour
from fmlab.metrics.weights_file import checkpoint_folder, weights_file

WEIGHTS_VARIABLE = "FMLAB_CLIP"
DEFAULT = "clip-vit-b-32"


class ClipFeatures(FeatureNetwork):
    """The image embeddings of one of OpenAI's CLIP networks; grey images are repeated to three channels.

    Args:
        kind: torch-fidelity's name of the network, such as `clip-vit-b-32` or `clip-vit-l-14`.
        weights: OpenAI's file (TorchScript); without one, $FMLAB_CLIP and torch hub's copy are looked for.

    Raises:
        UserError: The weights are not there, or the file does not hold them.
    """

    images_at_once = 64

    def __init__(self, kind: str = DEFAULT, weights: str | Path | None = None) -> None:
        from torch_fidelity.feature_extractor_clip import MODEL_METADATA, MODEL_URLS, FeatureExtractorCLIP

        super().__init__()
        cached = checkpoint_folder() / f"{kind}-{MODEL_METADATA[kind]['hash']}.pt"
        path = weights_file("CLIP", weights, WEIGHTS_VARIABLE, cached, MODEL_URLS[kind])
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*torch.jit.load")  # the format of the weights
                self.network = FeatureExtractorCLIP(kind, ["clip"], str(path))
        except (RuntimeError, KeyError, ValueError, pickle.UnpicklingError) as error:
            raise UserError(
                f"{path} does not hold CLIP's weights", key="features", hint=f"they come from {MODEL_URLS[kind]}"
            ) from error
        self.name = kind.replace("-", "_")
        self.dimension = self.network.model.visual.output_dim
        side = self.network.resolution
        self.resize = f"to {side} x {side}, bilinear as in TensorFlow 1: corners not aligned, no antialiasing"
        self.freeze()

    def extract(self, images: Tensor) -> Tensor:
        """Features (B, dimension) of uint8 images (B, C, H, W), C = 1 or 3."""
        return self.network(as_colour(images, "CLIP"))[0]
