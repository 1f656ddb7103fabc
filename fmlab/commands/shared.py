"""Options that several verbs have, with one meaning: the run and its weights, guidance, labels, counts and ranges."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, Le, Predicate

from fmlab.config.option_values import split_list
from fmlab.config.options import Component, Named, Positional, Typed
from fmlab.config.precheck import check_component
from fmlab.errors import UserError
from fmlab.records import find_run
from fmlab.records.secrets import values_without_secrets

if TYPE_CHECKING:
    from fmlab.fields import Guidance
    from fmlab.launch.slurm.script import Submission

Count = Annotated[int, Ge(1)]
Finite = Annotated[float, Predicate(math.isfinite)]
Share = Annotated[float, Ge(0), Le(1)]
Weights = Literal["averaged", "raw"]
Precision = Literal["auto", "float32", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True, kw_only=True)
class TrainedOptions:
    """A run, and which of its weights are loaded where.

    Args:
        run: A run's folder, its id, or an experiment's name (its newest run).
        checkpoint: Which checkpoint: best, last or a file.
        weights: The averaged weights, or those of the last step.
        device: Where to compute, such as cpu, cuda or cuda:1; a GPU if there is one.
        trust: Import the run author's own code, which the run names.
    """

    run: Annotated[str, Positional()]
    checkpoint: str = "best"
    weights: Weights = "averaged"
    device: str | None = None
    trust: bool = False


@dataclass(frozen=True, kw_only=True)
class GuidanceOptions:
    """How the field is guided.

    Args:
        scale: The guidance scale w: 0 is unconditional, 1 conditional, more than 1 guided.
        interval: The first and the last t that are guided, such as 0.1,0.9; w is 1 outside.
        rescale: How far the data prediction's deviation is brought back to the conditional one, in [0, 1];
            0 if left out.
        eta: A factor of the guidance along the conditional data prediction; 0 against over-saturation, 1 if left out.
        norm_threshold: The largest norm of the guidance in the data prediction; no limit if left out.
        weak: Autoguidance by the run of a weaker network, as RUN, RUN@last, RUN@raw or RUN@FILE.
        classifier: Classifier guidance by the run of a NoisyClassifier, likewise.
    """

    scale: Finite = 1.0
    interval: tuple[float, float] | None = None
    rescale: Share | None = None
    eta: Finite | None = None
    norm_threshold: Annotated[float, Gt(0)] | None = None
    weak: str | None = None
    classifier: str | None = None

    def guidance(self, scale: float) -> Guidance:
        """The guidance at a scale, with every run it names found.

        Raises:
            UserError: If a value is out of its range, there is no such run, or nothing is guided at this scale.
        """
        from fmlab.fields import Guidance
        from fmlab.inference.guides import resolve_guides

        names = ("interval", "rescale", "eta", "norm_threshold", "weak", "classifier")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return resolve_guides(Guidance(scale, **given))


@dataclass(frozen=True, kw_only=True)
class QueueOptions:
    """How a job waits and runs on a SLURM cluster; nodes, processes and GPUs follow from the trainer.

    Args:
        slurm_options: The cluster's own settings: partition, account, qos, constraint, time, gpu, cpus_per_task, mem,
            signal_seconds, modules, container, setup, options.
        cluster: A YAML file of such settings; cluster.yaml here, or fmlab/cluster.yaml in ~/.config, if left out.
        at_once: How many tasks of an array run at the same time; all if left out.
        max_restarts: How often a job may be put back into the queue.
        dry_run: Check everything, print the script, submit nothing.
    """

    slurm_options: Annotated[Mapping[str, str], Named("slurm")] = field(default_factory=dict)
    cluster: str | None = None
    at_once: Count | None = None
    max_restarts: Annotated[int, Ge(0)] = 50
    dry_run: Annotated[bool, Named("dry-run")] = False
    typed: Annotated[tuple[str, ...], Typed()] = ()

    def submission(self, verb: str, after: int | None = None) -> Submission:
        """Returns how to submit, with the cluster's settings read and checked."""
        from fmlab.launch.slurm.cluster import find_cluster_file, read_cluster
        from fmlab.launch.slurm.script import Submission

        cluster = read_cluster(find_cluster_file(self.cluster), self.slurm_options)
        typed = shlex.join(["fmlab", verb, *values_without_secrets(self.typed)])
        return Submission(typed, cluster, self.at_once, after, self.max_restarts, self.dry_run)


def check_guidance_is_used(guidances: list[Guidance]) -> None:
    """Refuses settings of guidance where nothing is guided.

    Raises:
        UserError: If every scale is 1, and there is no classifier.
    """
    for guidance in guidances:
        if guidance.scale != 1 or guidance.classifier is not None or not guidance.changes:
            return
    first = next(iter(guidances[0].changes))
    raise UserError("nothing is guided at scale 1", key=f"guidance.{first}", hint="add --guidance.scale 2")


def check_run(run: str, checkpoint: str = "best") -> None:
    """Refuses a run, an exported file or a checkpoint that is not there, before anything heavy is imported.

    Raises:
        UserError: If it is not there.
    """
    if not run.endswith(".safetensors"):
        find_run(run).checkpoint(checkpoint)
    elif not Path(run).is_file():
        raise UserError("there is no such file", key=run, hint=f"you are in {Path.cwd()}")


def check_sampler(solver: Component, grid: Component, path: Component) -> None:
    """Refuses classes that do not exist, and arguments of a path that no option names, before a run is loaded.

    Raises:
        UserError: If there are some.
    """
    for key, component in (("solver", solver), ("grid", grid), ("path", path)):
        for name in split_list(key, component.name) if component.name else ():
            check_component(name, key)
    if path.name is None and path.arguments:
        raise UserError("no path takes this argument", key=f"path.{next(iter(path.arguments))}", hint="add --path VP")


def parse_labels(text: str | None) -> list[int] | None:
    """`3`, `0-9` or `1,4,7` as a list; None stays None.

    Raises:
        UserError: If the text reads otherwise.
    """
    if text is None:
        return None
    labels: list[int] = []
    try:
        for item in text.split(","):
            first, _, last = item.partition("-")
            labels += range(int(first), int(last or first) + 1)
    except ValueError:
        raise UserError(f"cannot read {text!r}", key="labels", hint="write 3, 0-9 or 1,4,7") from None
    if not labels:
        raise UserError(f"{text} holds no label", key="labels", hint="write 3, 0-9 or 1,4,7")
    return labels
