"""Options that several verbs have, with one meaning: the run and its weights, sampling, guidance, the queue."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Predicate

from fmlab.config.options import Component, Named, Positional, Typed, split_list
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


@dataclass(frozen=True, kw_only=True)
class TrainedOptions:
    """A run, and which of its weights are loaded.

    Args:
        run: A run's folder, its id, or an experiment's name (its newest run).
        checkpoint: Which checkpoint: best, last or a file.
        weights: The averaged weights, or those of the last step.
        trust: Import the run author's own code, which the run names.
    """

    run: Annotated[str, Positional()]
    checkpoint: str = "best"
    weights: Weights = "averaged"
    trust: bool = False


@dataclass(frozen=True, kw_only=True)
class SamplingOptions(TrainedOptions):
    """How samples of a run are made.

    Args:
        device: Where to compute, such as cpu, cuda or cuda:1; a GPU if there is one.
        solver: The solver, see fmlab list solvers; --solver.NAME VALUE gives an argument.
        grid: Where the steps lie, see fmlab list grids; --grid.NAME VALUE likewise.
        path: A Gaussian path to sample along, see fmlab list paths; the trained one if left out.
        seed: The first sample's seed; the others follow.
        batch_size: Samples per solve.
        precision: What the network computes in; auto is the fastest on the device.
    """

    device: str | None = None
    solver: Component = Component("Heun")
    grid: Component = Component("UniformGrid")
    path: Component = Component()
    seed: int = 0
    batch_size: Count = 250
    precision: Literal["auto", "float32", "bf16-mixed", "16-mixed"] = "float32"

    def __post_init__(self) -> None:
        for key in ("solver", "grid", "path"):
            component: Component = getattr(self, key)
            for name in split_list(key, component.name) if component.name else ():
                check_component(name, key)


@dataclass(frozen=True, kw_only=True)
class GuidanceOptions:
    """How the field is guided.

    Args:
        guidance_interval: The first and the last t that are guided, such as 0.1,0.9; w is 1 outside.
        guidance_rescale: How far the data prediction's deviation is brought back to the conditional one, in [0, 1];
            0 if left out.
        guidance_eta: A factor of the guidance along the conditional data prediction; 0 against over-saturation, 1 if
            left out.
        guidance_norm_threshold: The largest norm of the guidance in the data prediction; no limit if left out.
        guidance_weak: Autoguidance by the run of a weaker network, as RUN, RUN@last, RUN@raw or RUN@FILE.
        guidance_classifier: Classifier guidance by the run of a NoisyClassifier, likewise.
    """

    guidance_interval: Annotated[tuple[float, float] | None, Named("guidance.interval")] = None
    guidance_rescale: Annotated[Share | None, Named("guidance.rescale")] = None
    guidance_eta: Annotated[Finite | None, Named("guidance.eta")] = None
    guidance_norm_threshold: Annotated[Annotated[float, Gt(0)] | None, Named("guidance.norm_threshold")] = None
    guidance_weak: Annotated[str | None, Named("guidance.weak")] = None
    guidance_classifier: Annotated[str | None, Named("guidance.classifier")] = None

    def guidances(self, *scales: float) -> list[Guidance]:
        """The guidance at each scale, with every run it names found.

        Raises:
            UserError: If a value is out of its range, there is no such run, or nothing is guided.
        """
        from fmlab.fields import Guidance
        from fmlab.inference.guides import resolve_guides

        names = ("interval", "rescale", "eta", "norm_threshold", "weak", "classifier")
        settings: dict[str, Any] = {name: getattr(self, f"guidance_{name}") for name in names}
        settings = {name: value for name, value in settings.items() if value is not None}
        guidances = [resolve_guides(Guidance(scale, **settings)) for scale in scales]
        if all(one.scale == 1 and one.classifier is None and one.changes for one in guidances):
            first = next(iter(guidances[0].changes))
            raise UserError("nothing is guided at scale 1", key=f"guidance.{first}", hint="add --guidance.scale 2")
        return guidances


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


def check_run(run: str, checkpoint: str = "best") -> None:
    """Refuses a run, an exported file or a checkpoint that is not there, before anything heavy is imported.

    Raises:
        UserError: If it is not there.
    """
    if not run.endswith(".safetensors"):
        find_run(run).checkpoint(checkpoint)
    elif not Path(run).is_file():
        raise UserError("there is no such file", key=run, hint=f"you are in {Path.cwd()}")


def parse_labels(text: str) -> list[int | str]:
    """`3`, `0-9` or `1,4,7` as a list, and `cat,dog` as names of classes.

    Raises:
        UserError: If the text reads otherwise.
    """
    labels: list[int | str] = []
    for item in text.split(","):
        first, _, last = item.partition("-")
        try:
            labels += range(int(first), int(last or first) + 1)
        except ValueError:
            if not any(letter.isalpha() for letter in item):
                raise UserError(f"cannot read {text!r}", key="labels", hint="write 3, 0-9 or 1,4,7") from None
            labels.append(item.strip())
    if not labels:
        raise UserError(f"{text} holds no label", key="labels", hint="write 3, 0-9 or 1,4,7")
    return labels
