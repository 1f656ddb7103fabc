"""Feature networks, and the distances between sets of images or points, as torchmetrics metrics.

Names load when they are first used: torchmetrics, scipy and torch-fidelity are slow to import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fmlab.metrics.cache import cache_folder
    from fmlab.metrics.domain import DomainClassifier, domain_network, shipped_network
    from fmlab.metrics.features import FeatureKind, feature_network
    from fmlab.metrics.frechet import FrechetDistance, frechet_distance
    from fmlab.metrics.inception import InceptionFeatures
    from fmlab.metrics.keys import metric_key
    from fmlab.metrics.kid import KernelDistance
    from fmlab.metrics.neighbours import NearestNeighbours, nearest_rows
    from fmlab.metrics.network import FeatureNetwork
    from fmlab.metrics.points import MaximumMeanDiscrepancy, Wasserstein2, wasserstein2
    from fmlab.metrics.random_features import RandomFeatures
    from fmlab.metrics.reference import ReferenceStatistics, reference_points, reference_statistics

_HOMES = {
    "cache": ("cache_folder",),
    "domain": ("DomainClassifier", "domain_network", "shipped_network"),
    "features": ("FeatureKind", "feature_network"),
    "frechet": ("FrechetDistance", "frechet_distance"),
    "inception": ("InceptionFeatures",),
    "keys": ("metric_key",),
    "kid": ("KernelDistance",),
    "neighbours": ("NearestNeighbours", "nearest_rows"),
    "network": ("FeatureNetwork",),
    "points": ("MaximumMeanDiscrepancy", "Wasserstein2", "wasserstein2"),
    "random_features": ("RandomFeatures",),
    "reference": ("ReferenceStatistics", "reference_points", "reference_statistics"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "DomainClassifier",
    "FeatureKind",
    "FeatureNetwork",
    "FrechetDistance",
    "InceptionFeatures",
    "KernelDistance",
    "MaximumMeanDiscrepancy",
    "NearestNeighbours",
    "RandomFeatures",
    "ReferenceStatistics",
    "Wasserstein2",
    "cache_folder",
    "domain_network",
    "feature_network",
    "frechet_distance",
    "metric_key",
    "nearest_rows",
    "reference_points",
    "reference_statistics",
    "shipped_network",
    "wasserstein2",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
