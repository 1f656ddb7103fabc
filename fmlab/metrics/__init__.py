"""Feature networks, and the distances between sets of images or points, as torchmetrics metrics.

Names load when they are first used: torchmetrics, scipy and torch-fidelity are slow to import. To add a metric, see
`fmlab.metrics.registry`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {
    "cache": ["cache_folder"],
    "classification": ["ClassAccuracy", "InceptionScore"],
    "bits_per_dimension": ["BitsPerDimension"],
    "domain": ["DomainClassifier", "shipped_network"],
    "domain_training": ["domain_network"],
    "features": ["FeatureKind", "feature_network"],
    "frechet": ["FrechetDistance"],
    "gaussian_distance": ["frechet_distance"],
    "kernel": ["KernelDistance", "MaximumMeanDiscrepancy"],
    "metric": ["SampleMetric"],
    "metric_set": ["MetricSet"],
    "neighbours": ["NearestNeighbours", "nearest_rows"],
    "network": ["FeatureNetwork"],
    "parts": ["MetricParts", "Repeats"],
    "prdc": ["PrecisionRecallDensityCoverage"],
    "random_features": ["RandomFeatures"],
    "halves": ["ReferenceHalf", "real_vs_real"],
    "reference": ["ReferenceStatistics", "reference_points", "reference_statistics"],
    "registry": ["METRICS", "check_metrics", "facts", "metric_key", "spread_key"],
    "reference_file": ["statistics_file"],
    "torch_fidelity": ["InceptionFeatures"],
    "transport": ["Wasserstein2", "normalised_path_energy", "path_energy", "wasserstein2"],
}
"""The public names by the module that has them."""

_HOMES = {name: module for module, names in _PUBLIC.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
