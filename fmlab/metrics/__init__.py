"""Feature networks, and the distances between sets of images or points, as torchmetrics metrics.

Names load when they are first used: torchmetrics, scipy and torch-fidelity are slow to import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fmlab.metrics.accuracy import ClassAccuracy
    from fmlab.metrics.cache import cache_folder
    from fmlab.metrics.domain import DomainClassifier, domain_network, shipped_network
    from fmlab.metrics.energy import normalised_path_energy, path_energy
    from fmlab.metrics.external import statistics_file
    from fmlab.metrics.features import FeatureKind, feature_network
    from fmlab.metrics.floor import halves
    from fmlab.metrics.frechet import FrechetDistance, frechet_distance
    from fmlab.metrics.frechet_spread import FrechetDistanceWithSpread
    from fmlab.metrics.inception import InceptionFeatures
    from fmlab.metrics.inception_score import InceptionScore
    from fmlab.metrics.keys import metric_key, spread_key
    from fmlab.metrics.kid import KernelDistance, KernelDistanceWithSpread
    from fmlab.metrics.neighbours import NearestNeighbours, nearest_rows
    from fmlab.metrics.network import FeatureNetwork
    from fmlab.metrics.one_pass import ImageMetrics, image_metrics
    from fmlab.metrics.points import MaximumMeanDiscrepancy, Wasserstein2, wasserstein2
    from fmlab.metrics.prdc import PrecisionRecallDensityCoverage
    from fmlab.metrics.random_features import RandomFeatures
    from fmlab.metrics.reference import ReferenceStatistics, reference_points, reference_statistics
    from fmlab.metrics.wanted import METRICS, check_metrics

_HOMES = {
    "accuracy": ("ClassAccuracy",),
    "cache": ("cache_folder",),
    "domain": ("DomainClassifier", "domain_network", "shipped_network"),
    "features": ("FeatureKind", "feature_network"),
    "frechet": ("FrechetDistance", "frechet_distance"),
    "frechet_spread": ("FrechetDistanceWithSpread",),
    "floor": ("halves",),
    "one_pass": ("ImageMetrics", "image_metrics"),
    "inception": ("InceptionFeatures",),
    "inception_score": ("InceptionScore",),
    "keys": ("metric_key", "spread_key"),
    "kid": ("KernelDistance", "KernelDistanceWithSpread"),
    "neighbours": ("NearestNeighbours", "nearest_rows"),
    "network": ("FeatureNetwork",),
    "energy": ("normalised_path_energy", "path_energy"),
    "points": ("MaximumMeanDiscrepancy", "Wasserstein2", "wasserstein2"),
    "prdc": ("PrecisionRecallDensityCoverage",),
    "random_features": ("RandomFeatures",),
    "reference": ("ReferenceStatistics", "reference_points", "reference_statistics"),
    "external": ("statistics_file",),
    "wanted": ("METRICS", "check_metrics"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "METRICS",
    "ClassAccuracy",
    "DomainClassifier",
    "FeatureKind",
    "FeatureNetwork",
    "FrechetDistance",
    "FrechetDistanceWithSpread",
    "ImageMetrics",
    "InceptionFeatures",
    "InceptionScore",
    "KernelDistance",
    "KernelDistanceWithSpread",
    "MaximumMeanDiscrepancy",
    "NearestNeighbours",
    "PrecisionRecallDensityCoverage",
    "RandomFeatures",
    "ReferenceStatistics",
    "Wasserstein2",
    "cache_folder",
    "check_metrics",
    "domain_network",
    "feature_network",
    "frechet_distance",
    "halves",
    "image_metrics",
    "metric_key",
    "nearest_rows",
    "normalised_path_energy",
    "path_energy",
    "reference_points",
    "reference_statistics",
    "shipped_network",
    "spread_key",
    "statistics_file",
    "wasserstein2",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
