"""What stands beside every number: how it was measured, and how the samples were made.

The measurement decides which numbers may be ranked together; settings may differ and become columns of a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from fmlab.fields import Guidance, Sampling
from fmlab.paths import ProbabilityPath
from fmlab.records.measurements import Record
from fmlab.records.meta import versions

UINT8 = "floor(clip(127.5 x + 128, 0, 255))"
"""The rule of `fmlab.data.pixels.to_uint8`."""
_versions = cache(versions)  # the metadata of a dozen packages take a tenth of a second to read


def data_reference(data: Any, size: int | None) -> Record:
    """The reference split of a data module, of which so many examples are used, as a measurement names it."""
    split = getattr(data, "reference", None)
    return {"data": type(data).__name__, "split": split, "size": size, "hash": data.reference_hash()}


def measurement(estimators: Mapping[str, str], samples: int, reference: Record, network: Any) -> Record:
    """How numbers are measured.

    Args:
        estimators: How each of them is estimated, with a version, by the metric's name.
        samples: Images or points generated.
        reference: What they are compared with: its `data`, `split`, `size` and `hash`.
        network: The feature network, or None for points.
    """
    images = network is not None
    return {
        "samples": samples,
        "reference": reference,
        "features": {"name": network.name, "weights": network.weights_hash} if images else None,
        "resize": network.resize if images else None,
        "uint8": UINT8 if images else None,
        "estimators": dict(estimators),
    }


def setting(
    sampling: Sampling,
    path: ProbabilityPath,
    guidance: float | Guidance,
    *,
    seeds: tuple[int, int],
    labels: str | None,
    weights: str | None,
    precision: str,
    batch_size: int,
    data: Any,
    field: str = "network",
    checkpoint: Record | None = None,
    nfe: float | None = None,
) -> Record:
    """How samples are made.

    Args:
        sampling: Solver, grid, steps and path.
        path: The path of the field, along which to sample where `sampling` names no other.
        guidance: The guidance scale w, or all of guidance.
        seeds: The first and the last.
        labels: The rule that gives each sample its label; None without labels.
        weights: Which weights of the network.
        precision: Of the network's arithmetic.
        batch_size: Samples per solve; on it depend the forwards of adaptive solvers, and the samples by rounding alone.
        data: The data module, which knows the global batch.
        field: `network`, or `exact` for the field that a perfect network would have learned.
        checkpoint: `file`, `step` and `hash` of the checkpoint; None within training.
        nfe: Forwards a sample, once they are measured.
    """
    more = {name: value for name, value in Guidance.of(guidance).changes.items() if name != "scale"}
    return {
        "field": field,
        "solver": repr(sampling.solver),
        "grid": repr(sampling.grid),
        "path": repr(sampling.path or path),
        "steps": sampling.steps,
        "nfe": nfe,
        "guidance_scale": Guidance.of(guidance).scale,
        **({"guidance": more} if more else {}),
        "labels": labels,
        "seeds": list(seeds),
        "weights": weights,
        "checkpoint": checkpoint,
        "precision": precision,
        "batch_size": batch_size,
        "global_batch": getattr(data, "global_batch_size", None),
        "versions": _versions(),
    }
