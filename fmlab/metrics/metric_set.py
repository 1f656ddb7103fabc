"""Several metrics of one set of samples, in one pass over it."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from fmlab.errors import UserError
from fmlab.metrics.metric import SampleMetric
from fmlab.metrics.parts import MetricParts
from fmlab.metrics.registry import Side, check_metrics, metric_class, metric_key
from fmlab.records.measurements import NONFINITE, Record


class DuplicateGuard(Metric):
    """Counts which samples of a set have been measured and how many are not finite; refuses one that comes twice.

    Args:
        num_samples: Samples of the whole set.
    """

    full_state_update = False
    counts: Tensor
    nonfinite: Tensor

    def __init__(self, num_samples: int) -> None:
        super().__init__()
        self.add_state("counts", torch.zeros(num_samples, dtype=torch.uint8), dist_reduce_fx="sum")
        self.add_state("nonfinite", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, places: Tensor, nonfinite: int = 0) -> None:
        """Adds the samples with these places, int64 (B,), of which so many are not finite.

        Raises:
            ValueError: A place is outside the set or was there before.
        """
        added = torch.bincount(places.cpu(), minlength=len(self.counts)).to(self.counts.device)
        if len(added) > len(self.counts) or bool((added + self.counts > 1).any()):
            raise ValueError(f"places are to be from 0 to {len(self.counts) - 1}, each of them once")
        self.counts, self.nonfinite = self.counts + added.to(torch.uint8), self.nonfinite + nonfinite

    def compute(self) -> tuple[int, int]:
        """How many samples have been there, and how many of them are not finite."""
        return int((self.counts > 0).sum()), int(self.nonfinite)


class MetricSet:
    """The requested metrics of a set of samples that come in batches, in any order, on any number of ranks.

    Each sample is known by its place in the set: that decides into which split it falls and whether its features are
    kept, so batches, their order and ranks do not matter. Memory does not grow with the images, but for a byte each.

        metrics = MetricSet(["fid", "kid"], MetricParts(data, 10_000, cache_folder()))
        metrics.update(images, labels, places)  # uint8 (B, C, H, W), labels (B,) or None, places in the set (B,)
        metrics.compute()                       # {"fid_domain": 1.2, "fid_domain_std": 0.1, ...}

    Attributes:
        names: The metrics, as `check_metrics` orders them.
        metrics: The metrics by name.
        better: Of each value's key, whether less or more of it is better, where either is; a spread has none.

    Args:
        names: Which of `METRICS`, or import paths of others.
        parts: What they are built from.
        alone: Whether this process measures the whole set by itself, whatever other ranks there are.

    Raises:
        UserError: A metric is unknown, is of other data, needs more samples, or a part lacks what it needs.
    """

    def __init__(self, names: Sequence[str], parts: MetricParts, alone: bool = False) -> None:
        self.names = check_metrics(names, parts.data.kind, parts.set_size)
        self.parts, self.guard = parts, DuplicateGuard(parts.num_samples)
        self.metrics: dict[str, SampleMetric] = {name: metric_class(name).build(parts) for name in self.names}
        self._inputs = {name for metric in self.metrics.values() for name in metric.facts.inputs}
        self.better: dict[str, Side] = {
            self._key(output, metric, ""): metric.facts.better
            for metric in self.metrics.values()
            for output in metric.facts.values
            if metric.facts.better is not None
        }
        for each in self._all().values():
            each.to(parts.device)
            if alone:
                each.distributed_available_fn = _not_distributed

    def update(self, samples: Tensor, labels: Tensor | None, places: Tensor, finite: Tensor | None = None) -> None:
        """Adds samples, each of them once.

        Args:
            samples: uint8 images (B, C, H, W) or float points (B, D), on any device.
            labels: The labels (B,) they were made for, which `accuracy` needs, or None.
            places: Their places in the set, int64 (B,), from 0 to the number of samples less one.
            finite: Whether each was finite before it was rounded to uint8, bool (B,); left out, images were.

        Raises:
            UserError: Labels are needed and there are none, or one is out of range.
            ValueError: A place is outside the set or was there before.
        """
        if finite is None:
            finite = samples.flatten(1).isfinite().all(1)
        if samples.is_floating_point():  # what is not finite makes every value NaN in the end, and no metric an error
            samples = torch.where(finite.view(-1, *[1] * (samples.ndim - 1)), samples, 0.0)
        inputs = self._inputs_of(samples, labels, places)
        self.guard.update(places, int((~finite).sum()))
        for metric in self.metrics.values():
            metric.update(*(inputs[name] for name in metric.facts.inputs))

    def _inputs_of(self, samples: Tensor, labels: Tensor | None, places: Tensor) -> dict[str, Tensor]:
        """What the metrics see of a batch, by the names of `Facts.inputs`: each is computed once for all of them."""
        inputs, needed = {"samples": samples, "places": places}, set(self._inputs)
        if "labels" in needed:
            if labels is None:
                raise UserError("class accuracy needs the labels that the images were made for", key="metrics")
            inputs["labels"] = labels
        if "class_logits" in needed and self.parts.classifier is self.parts.network:
            needed.add("logits")
        if needed & {"features", "logits"}:
            inputs["features"] = self.parts.network(samples.to(self.parts.network.device))
        if "logits" in needed:
            inputs["logits"] = inputs["class_logits"] = self.parts.network.logits_of(inputs["features"])
        if "class_logits" in needed and self.parts.classifier is not self.parts.network:
            classifier = self.parts.classifier
            inputs["class_logits"] = classifier.logits_of(classifier(samples.to(classifier.device)))
        return inputs

    def compute(self, prefix: str = "") -> dict[str, float]:
        """The values and their spreads by key, of all ranks together; every rank has to call it.

        If any sample is not finite, every value is NaN, and `nonfinite_samples` says how many there are.

        Args:
            prefix: What stands before a slash in the keys, such as `val`; without one there is no slash.

        Raises:
            UserError: Not all samples have been there.
        """
        with warnings.catch_warnings():
            # A rank without samples of its own, or one that continues from a state, has not been updated.
            warnings.filterwarnings("ignore", message="The ``compute`` method of metric")
            count, nonfinite = self.guard.compute()
            if count < self.parts.num_samples:
                raise UserError(f"{count} of {self.parts.num_samples} samples were measured")
            values = {name: metric.compute() for name, metric in self.metrics.items()}
        keyed = {
            self._key(output, self.metrics[name], prefix): float(value)
            for name, outputs in values.items()
            for output, value in outputs.items()
        }
        if nonfinite == 0:
            return keyed
        return {**dict.fromkeys(keyed, math.nan), f"{prefix}/{NONFINITE}".lstrip("/"): float(nonfinite)}

    def reset(self) -> None:
        """Forgets all samples; what was computed of the reference alone is kept."""
        for metric in self._all().values():
            metric.reset()

    def state(self) -> dict[str, Tensor]:
        """What this process has counted, as plain tensors on the CPU, to be saved and given to `load_state`."""
        state = {"identity": torch.frombuffer(bytearray(self._identity()), dtype=torch.uint8)}
        for name, metric in self._all().items():
            for part, value in metric.metric_state.items():
                state[f"{name}.{part}"] = (torch.cat(value) if isinstance(value, list) else value).detach().cpu()
        return state

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Goes on from what `state` gave, and forgets what was counted here.

        Raises:
            UserError: It is of other metrics, features, reference or number of samples.
        """
        if bytes(state["identity"].tolist()) != self._identity():
            raise UserError("the saved state belongs to other metrics, features, reference or number of samples")
        self.reset()
        for name, metric in self._all().items():
            for part, value in metric.metric_state.items():
                saved = state[f"{name}.{part}"].to(self.parts.device)
                setattr(metric, part, [saved] if isinstance(value, list) else saved)

    def measurement(self) -> Record:
        """How the numbers are measured: as the first metric is, with the estimators of all."""
        records = [metric.measurement(self.parts) for metric in self.metrics.values()]
        estimators = {key: text for record in records for key, text in record["estimators"].items()}
        return {**records[0], "estimators": estimators}

    def remarks(self) -> list[str]:
        """What a reader of the numbers should know, a line each."""
        return [line for metric in self.metrics.values() for line in metric.remarks(self.parts)]

    def _all(self) -> dict[str, Metric]:
        return {"guard": self.guard, **self.metrics}

    def _key(self, output: str, metric: SampleMetric, prefix: str) -> str:
        """The key of `kid`, `kid_std` ...; the ending of a spread comes last."""
        base = output.removesuffix("_std")
        return metric_key(base, self.parts.features_of(metric.facts), prefix) + output[len(base) :]

    def _identity(self) -> bytes:
        """SHA-256 of all that decides the numbers besides the samples."""
        decisive: list[Any] = [self.measurement()]
        if any(self.parts.features_of(metric.facts) for metric in self.metrics.values()):
            decisive += [self.parts.network.description(), self.parts.statistics.key]
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).digest()


def _not_distributed() -> bool:
    return False
