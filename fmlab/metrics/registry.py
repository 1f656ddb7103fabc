"""The metrics by name, and the facts of each, from which every list, help text, key and check is derived.

To add a metric, write one file with its class and one line in `METRICS`. One of your own needs neither: wherever a
metric is named, its import path serves as well, `my_parts.MyMetric`. Importing this module is light: the facts of the
metrics here are read from the source without running it, so that a command can check its options before torch loads.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from fmlab.errors import UserError, nearest

Side = Literal["less", "more"]

METRICS = {
    "fid": "fmlab.metrics.frechet.FrechetDistance",
    "kid": "fmlab.metrics.kernel.KernelDistance",
    "is": "fmlab.metrics.classification.InceptionScore",
    "prdc": "fmlab.metrics.prdc.PrecisionRecallDensityCoverage",
    "accuracy": "fmlab.metrics.classification.ClassAccuracy",
    "bpd": "fmlab.metrics.bits_per_dimension.BitsPerDimension",
    "w2": "fmlab.metrics.transport.Wasserstein2",
    "mmd": "fmlab.metrics.kernel.MaximumMeanDiscrepancy",
    "neighbours": "fmlab.metrics.neighbours.NearestNeighbours",
}
"""The class of each metric by its import path, in the order in which metrics are shown."""


@dataclass(frozen=True)
class Facts:
    """What is known of a metric before any sample; a class states it in literals, as `facts = Facts(...)`.

    Args:
        name: The name by which it is asked for, as in `METRICS`.
        title: What it is, for messages and lists.
        kind: Whether it measures images, points or either.
        inputs: What its `update` takes, in this order: `samples` (uint8 images or float points), `features` of the
            images, `logits` of the feature network, `class_logits` of the classifier of the data's classes, `labels`
            that the images were made for, `places` of the samples in their set.
        outputs: The names of its values.
        better: Whether less or more of them is better; None where neither is.
        least: The fewest samples, and reference examples where it compares those, that it and its spread need.
        estimator: How it is computed, with a version that changes when numbers do; part of the measurement.
        spread: What the `_std` beside each of its values is; None where there is none.
        spread_outputs: The names of values that come with the spread only.
        usual: Whether it is measured in validation, and wherever no metric is named.
        against_reference: Whether real examples measured against other real ones say how low it can be.
        held_out: Whether it measures held-out examples, not generated ones.
    """

    name: str
    title: str
    kind: Literal["images", "points", "either"]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    better: Side | None
    least: int
    estimator: str
    spread: str | None = None
    spread_outputs: tuple[str, ...] = ()
    usual: bool = False
    against_reference: bool = True
    held_out: bool = False

    @property
    def values(self) -> tuple[str, ...]:
        """The names of all its values, with a spread."""
        return (*self.outputs, *self.spread_outputs)

    @property
    def about(self) -> str:
        """One line for lists: the title, the values, and which way is better."""
        way = "" if self.better is None else f"; {self.better} is better"
        return f"{self.title} of {'images or points' if self.kind == 'either' else self.kind}{way}"


@cache
def facts(name: str) -> Facts:
    """The facts of a metric: read from the source of its class, or from the class of one of the user's own.

    Raises:
        UserError: There is no class at an import path, or it is no metric.
        ValueError: A class of this package does not state its facts in literals.
    """
    if name not in METRICS:
        stated = getattr(metric_class(name), "facts", None)
        if isinstance(stated, Facts):
            return stated
        raise UserError(f"{name} does not state `facts = Facts(...)`", key="metrics")
    module, _, class_name = METRICS[name].rpartition(".")
    spec = importlib.util.find_spec(module)
    tree = ast.parse(Path(str(spec and spec.origin)).read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name]
    for line in classes[0].body if classes else []:
        if (
            isinstance(line, ast.Assign)
            and isinstance(line.value, ast.Call)
            and ast.unparse(line.targets[0]) == "facts"
        ):
            return Facts(**{str(part.arg): ast.literal_eval(part.value) for part in line.value.keywords})
    raise ValueError(f"{METRICS[name]} does not state `facts = Facts(...)`")


def metric_class(name: str) -> Any:
    """The class of a metric, by its name or its import path."""
    base = importlib.import_module("fmlab.metrics.metric").SampleMetric
    return import_part(METRICS.get(name, name), base, "metrics")


def import_part(path: str, base: type, key: str) -> Any:
    """The class at an import path, also from a file in the working directory: what a user types, he trusts.

    No run's record and no configuration file names what is imported here.

    Raises:
        UserError: There is no such module or class, or the class does not derive from `base`; it names the key.
    """
    module_name, _, name = path.rpartition(".")
    try:
        if importlib.util.find_spec(path.partition(".")[0]) is None and str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))  # last, so that nothing of the user's hides an installed package
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the user's code raises while it is imported
        cause = " ".join(str(error).split())
        raise UserError(f"{module_name} cannot be imported: {type(error).__name__}: {cause}", key=key) from error
    classes = {key: value for key, value in vars(module).items() if inspect.isclass(value) and issubclass(value, base)}
    if name not in classes:
        choices = [choice for choice in classes if classes[choice] is not base]
        hint = nearest(name, choices) if choices else None
        raise UserError(f"{module_name} has no {base.__name__} {name!r}", key=key, hint=hint)
    return classes[name]


def source_hash(cls: type) -> str:
    """SHA-256 (hex) of the file in which a class is written; empty where there is none to read."""
    try:
        return hashlib.sha256(Path(inspect.getfile(cls)).read_bytes()).hexdigest()
    except (TypeError, OSError):
        return ""


def fitting_metrics(kind: str) -> list[str]:
    """The names of the metrics of `images` or `points`."""
    return [name for name in METRICS if facts(name).kind in (kind, "either")]


def usual_metrics(kind: str) -> list[str]:
    """The names of the metrics that are measured where none is named."""
    return [name for name in fitting_metrics(kind) if facts(name).usual]


def check_metrics(names: Iterable[str], kind: str | None = None, num_samples: int | None = None) -> list[str]:
    """The names of metrics, each once: those of `METRICS` in its order, then import paths.

    Args:
        names: What is asked for.
        kind: `images` or `points`; None does not check it.
        num_samples: How many samples there will be; None does not check it.

    Raises:
        UserError: A name is unknown, there is none, a metric is of another kind or needs more samples, or two of them
            do not go together.
    """
    names, choices = list(dict.fromkeys(names)), list(METRICS) if kind is None else fitting_metrics(kind)
    if not names:
        raise UserError("no metric is named", key="metrics", hint=f"choose from: {', '.join(choices)}")
    for name in names:
        if name not in METRICS and "." not in name:
            raise UserError(f"there is no metric {name!r}", key="metrics", hint=nearest(name, choices))
        metric = facts(name)
        if kind is not None and metric.kind not in (kind, "either"):
            cause = f"{name} compares {metric.kind}, and these are {kind}"
            raise UserError(cause, key="metrics", hint=f"choose from: {', '.join(choices)}")
        if num_samples is not None and num_samples < metric.least:
            examples = "samples" if metric.kind == "either" else metric.kind
            cause = f"{name}, {metric.title}, needs at least {metric.least} {examples}, not {num_samples}"
            raise UserError(cause, key="num_samples", hint=f"ask for {metric.least} or more")
    if len(names) > 1 and (alone := next((name for name in names if facts(name).held_out), None)):
        cause = f"{alone} is measured on held-out examples, the other metrics on generated ones"
        raise UserError(cause, key="metrics", hint=f"measure it by itself: {alone} alone")
    count = Counter(value for name in names for value in {facts(name).name, *facts(name).values})
    if twice := [value for value in count if count[value] > 1]:
        raise UserError(f"two metrics give the value {twice[0]}", key="metrics", hint="rename it in the `facts` of one")
    return [*(name for name in METRICS if name in names), *(name for name in names if name not in METRICS)]


def output_sides() -> dict[str, Side | None]:
    """Whether less or more is better, by the name of each value of each metric."""
    return {value: facts(name).better for name in METRICS for value in facts(name).values}


def metric_key(output: str, features: str | None = None, prefix: str = "val") -> str:
    """The key of a value: `val/fid` with Inception, else named after the features, `val/fid_domain`; `val/w2`.

    Args:
        output: The name of the value, such as `fid`.
        features: The name of the network that sees the images; None where samples are compared as they are.
        prefix: What stands before the slash; without one there is no slash.
    """
    suffix = "" if features in (None, "inception") else f"_{features}"
    return f"{prefix}/{output}{suffix}" if prefix else f"{output}{suffix}"
