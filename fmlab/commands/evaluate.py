"""`fmlab evaluate`: a finished run measured under a grid of settings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fmlab.commands.shared import Count, Finite, GuidanceOptions, SamplingOptions, check_run, parse_labels
from fmlab.config.options import Named
from fmlab.config.parts import build_axis
from fmlab.errors import UserError
from fmlab.metrics.registry import check_metrics

if TYPE_CHECKING:
    from fmlab.inference.trained import Trained

FREQUENCIES = "frequencies"


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(SamplingOptions, GuidanceOptions):
    """Measures a finished run under every combination of settings, and continues an earlier evaluation that stopped.

      fmlab evaluate digits --metrics fid,kid --num_samples 1000 --solver Euler,Heun --steps 5,10,20
      fmlab evaluate digits --guidance.scale 1,1.5,2
      fmlab evaluate digits --metrics bpd --solver RK4
      torchrun --nproc_per_node 8 -m fmlab evaluate digits --num_samples 50000

    A list with commas is an axis of the grid, --solver.NAME VALUE,VALUE too. Several processes share the work, under
    torchrun or under srun.

    Args:
        metrics: Metrics, see fmlab list metrics, or an import path; the usual ones of the data if left out.
        num_samples: Samples to generate, 10000 images or 2000 points if left out; of bpd, held-out images.
        steps: Solver steps.
        guidance_scale: Guidance scales w: 0 is unconditional, 1 conditional, more than 1 guided.
        labels: Drawn by the training set's frequencies, or such as 0-9 or 1,4, in turn.
        features: The network that sees the images: auto, domain, inception, dinov2, clip, random, or an import path.
        reference: A file of reference statistics (.npz, .pkl) in the place of the run's data.
        probes: Of bpd: probes of the divergence for each dequantisation.
        dequantisations: Of bpd: dequantisations of each held-out image.
        exact: Measure the exact field of the run's training data too.
        ema_std: Widths of power-function averages to measure, such as 0.05,0.10.
        keep: Keep the samples: a folder for one PNG each, or a .npz.
        out: The evaluation's name, RUN/evaluations/NAME; named after the measurement if left out.
        wandb: Send the results to Weights & Biases too, as a run of their own.
    """

    metrics: tuple[str, ...] = ()
    num_samples: Count | None = None
    steps: tuple[Count, ...] = (20,)
    guidance_scale: Annotated[tuple[Finite, ...], Named("guidance.scale")] = (1.0,)
    labels: str = FREQUENCIES
    features: str = "auto"
    reference: str | None = None
    probes: int = 3
    dequantisations: int = 2
    exact: bool = False
    ema_std: Annotated[tuple[float, ...], Named("ema.std")] = ()
    keep: Path | None = None
    out: str | None = None
    wandb: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.metrics:
            check_metrics(self.metrics)
        if self.labels != FREQUENCIES:
            parse_labels(self.labels)
        if self.out is not None and not re.fullmatch(r"[\w][\w.+=@-]*", self.out):
            raise UserError(f"{self.out!r} is no folder's name", key="out", hint="letters, digits and . _ - + = @")


def run(options: EvaluateOptions) -> int:
    """Measures every cell of the grid, writes the numbers and prints them."""
    check_run(options.run, options.checkpoint)
    from fmlab.evaluation import Request, evaluate, join_processes, make_cells
    from fmlab.inference.load import load
    from fmlab.metrics.parts import Repeats
    from fmlab.paths import GaussianPath
    from fmlab.solvers import Grid, Solver

    def average(std: float) -> Trained:
        run, device = options.run, trained.device
        return load(run, options.checkpoint, options.weights, device=device, ema_std=std, trust=options.trust)

    solvers, grids = build_axis("solver", options.solver, Solver), build_axis("grid", options.grid, Grid)
    paths = build_axis("path", options.path, GaussianPath)
    with join_processes() as processes:
        device = processes.device(options.device)
        trained = load(options.run, options.checkpoint, options.weights, device, trust=options.trust)
        axes = (solvers, grids, paths, list(options.steps), options.guidances(*options.guidance_scale))
        request = Request(
            cells=make_cells(*axes, exact=options.exact, ema_stds=options.ema_std or (None,)),
            metrics=options.metrics,
            num_samples=options.num_samples,
            labels=None if options.labels == FREQUENCIES else trained.number_labels(parse_labels(options.labels)),
            seed=options.seed,
            features=options.features,
            reference=options.reference,
            repeats=Repeats(options.dequantisations, options.probes),
            precision=options.precision,
            batch_size=options.batch_size,
            name=options.out,
            keep=options.keep,
        )
        evaluate(trained, request, processes, average, options.wandb)
    return 0
