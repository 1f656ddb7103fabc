"""What fmlab's FID costs beside torch-fidelity's: `python benchmarks/metrics_speed.py [--quick] [--out FILE]`

Two ratios, each from runs of both sides in turns:

* **distance**: seconds for the Fréchet distance from means and covariances of 2048 features, full rank. torch-fidelity
  takes the eigenvalues of the product of the covariances; fmlab those of a symmetric matrix, by a factor of the
  reference that is kept with its statistics (making it is timed too). Goal: at most 0.4, equal to 1e-6 relative.
* **features**: images a second through the Inception network in float32, from uint8 images in memory to features. Both
  sides have the same random weights in torch-fidelity's architecture; its side is the function its own command calls,
  without worker processes. Goal: no fewer than torch-fidelity.

The machine should have nothing else to do; turns let what it does have meet both sides alike.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torch_fidelity import feature_extractor_inceptionv3 as inception
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric
from torch_fidelity.utils import get_featuresdict_from_dataset

from fmlab.metrics.gaussian_distance import covariance_factor, frechet_distance
from fmlab.metrics.network import FeatureNetwork
from fmlab.metrics.torch_fidelity import InceptionFeatures


class Images(Dataset[Tensor]):
    """uint8 images in memory, one at a time, as torch-fidelity reads them."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


def save_random_weights(path: Path) -> None:
    """Writes random weights for torch-fidelity's Inception architecture: speed asks for no others."""
    kind = inception.FeatureExtractorInceptionV3
    with (
        patch.object(inception, "load_state_dict_from_url", lambda *_, **__: {}),
        patch.object(kind, "load_state_dict"),
    ):
        network = kind("inception-v3-compat", ["2048"])
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    torch.save(network.state_dict(), path)


def gaussians(dimension: int) -> list[tuple[Tensor, Tensor]]:
    """Two means and full-rank covariances whose spectra fall over four decades, as those of features do."""
    generator = torch.Generator().manual_seed(0)
    spread = torch.logspace(0, -2, dimension, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(dimension, dimension, generator=generator, dtype=torch.float64))[0]
    sets = []
    for scale in (1.0, 1.2):
        rows = torch.randn(2 * dimension, dimension, generator=generator, dtype=torch.float64) * spread * scale @ turn
        sets.append((rows.mean(dim=0), rows.T.cov()))
    return sets


def in_turns(sides: dict[str, Callable[[], Any]], rounds: int) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Seconds of each side in each round, the order turned round every time, and what each gave last."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    results: dict[str, Any] = {}
    for index in range(rounds):
        for name in list(sides)[:: 1 if index % 2 == 0 else -1]:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            start = time.perf_counter()
            results[name] = sides[name]()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - start)
    return seconds, results


def distance(dimension: int, rounds: int) -> dict[str, float]:
    """The Fréchet distance: median seconds of both sides, the ratio, and how far their values are apart."""
    (mu1, sigma1), (mu2, sigma2) = gaussians(dimension)
    factor = covariance_factor(sigma2)
    arrays = [{"mu": mu.numpy(), "sigma": sigma.numpy()} for mu, sigma in ((mu1, sigma1), (mu2, sigma2))]
    sides = {
        "fmlab": lambda: float(frechet_distance(mu1, sigma1, mu2, sigma2, factor)),
        "torch_fidelity": lambda: fid_statistics_to_metric(*arrays, verbose=False)[KEY_METRIC_FID],
        "factor": lambda: covariance_factor(sigma2),
    }
    seconds, values = in_turns(sides, rounds)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    ratios = [ours / theirs for ours, theirs in zip(seconds["fmlab"], seconds["torch_fidelity"])]
    apart = abs(values["fmlab"] - values["torch_fidelity"]) / abs(values["torch_fidelity"])
    return {**medians, "ratio": statistics.median(ratios), "relative_difference": apart}


def features(images: int, size: int, rounds: int) -> dict[str, float]:
    """The Inception features: median images a second of both sides, the ratio, and how far their values are apart."""
    cuda = torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.pth"
        save_random_weights(path)
        ours: FeatureNetwork = InceptionFeatures(path)
        theirs = inception.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(path))
    if cuda:
        ours, theirs = ours.cuda(), theirs.cuda()
    x = torch.randint(0, 256, (images, 3, size, size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    sides = {
        "fmlab": lambda: ours(x.cuda() if cuda else x).cpu(),
        "torch_fidelity": lambda: get_featuresdict_from_dataset(Images(x), theirs, 64, cuda, True, False)["2048"],
    }
    in_turns(sides, 1)  # warm-up
    seconds, values = in_turns(sides, rounds)
    speeds = {name: images / statistics.median(times) for name, times in seconds.items()}
    ratios = [slow / fast for fast, slow in zip(seconds["fmlab"], seconds["torch_fidelity"])]
    apart = (values["fmlab"] - values["torch_fidelity"]).norm() / values["torch_fidelity"].norm()
    return {**speeds, "ratio": statistics.median(ratios), "relative_difference": float(apart)}


def main(argv: Sequence[str] | None = None) -> None:
    """Measures both and prints a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three rounds and 32 images instead of seven and 256")
    parser.add_argument("--dimension", type=int, default=2048, help="features of the distance")
    parser.add_argument("--images", type=int, help="images of a round")
    parser.add_argument("--size", type=int, default=32, help="side of the images in pixels")
    parser.add_argument("--rounds", type=int, help="rounds, in each of which both sides run")
    parser.add_argument("--out", type=Path, help="file for the figures, as JSON")
    options = parser.parse_args(argv)
    rounds = options.rounds or (3 if options.quick else 7)
    results = {"distance": distance(options.dimension, rounds)}
    line = results["distance"]
    print(
        f"distance, {options.dimension} features: fmlab {line['fmlab']:.2f} s (and once {line['factor']:.2f} s for the "
        f"factor), torch-fidelity {line['torch_fidelity']:.2f} s; ratio {line['ratio']:.3f}, goal at most 0.4; "
        f"apart by {line['relative_difference']:.1e}",
        flush=True,
    )
    results["features"] = features(options.images or (32 if options.quick else 256), options.size, rounds)
    line = results["features"]
    print(
        f"features: fmlab {line['fmlab']:.1f} images/s, torch-fidelity {line['torch_fidelity']:.1f}; "
        f"ratio {line['ratio']:.2f}, goal at least 1; apart by {line['relative_difference']:.1e}"
    )
    if options.out:
        setting = {"threads": torch.get_num_threads(), "torch": torch.__version__, "cuda": torch.cuda.is_available()}
        options.out.write_text(json.dumps({**results, "rounds": rounds, **setting}, indent=2) + "\n")


if __name__ == "__main__":
    main()
