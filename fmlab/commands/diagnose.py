"""`fmlab diagnose`: where the error of a run comes from, printed, drawn and kept as JSON."""

from __future__ import annotations

import textwrap
import time
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from fmlab.commands.shared import Count, Finite, SamplingOptions, check_run
from fmlab.config.options import Component, Named


@dataclass(frozen=True, kw_only=True)
class DiagnoseOptions(SamplingOptions):
    """Says where the error of a run comes from: its network, its solver, guidance, or too few data.

      fmlab diagnose digits
      fmlab diagnose digits --solver Heun --steps 20 --guidance.scale 2 --num_samples 500

    Args:
        solver: The solver, see fmlab list solvers; the run's own if left out. --solver.NAME VALUE gives an argument.
        grid: Where the steps lie, see fmlab list grids, likewise.
        steps: Solver steps; the run's own if left out.
        guidance_scale: The guidance scale w: 0 is unconditional, 1 conditional, more than 1 guided; the run's own if
            left out.
        num_samples: Samples in each set.
    """

    solver: Component = Component()
    grid: Component = Component()
    steps: Count | None = None
    guidance_scale: Annotated[Finite | None, Named("guidance.scale")] = None
    num_samples: Annotated[int, Ge(2)] = 500
    seed: int = 1_000_000


def run(options: DiagnoseOptions) -> int:
    """Diagnoses a run, prints the report and writes it into the run's folder."""
    check_run(options.run, options.checkpoint)
    from rich.console import Console

    from fmlab.diagnosis.diagnose import diagnose
    from fmlab.diagnosis.report import describe_subject, write_files, write_report
    from fmlab.diagnosis.subject import Subject, change_sampling, read_run_sampler
    from fmlab.inference.load import choose_device, load_module
    from fmlab.records import find_run
    from fmlab.training.generation import check_guidance, check_sampler

    began, layout = time.perf_counter(), find_run(options.run)
    loaded = load_module(layout, options.checkpoint, options.weights, trust=options.trust)
    own, scale = read_run_sampler(layout, options.trust), options.guidance_scale
    sampling = change_sampling(own, options.solver, options.grid, options.path, options.steps)
    scale = own.guidance_scale if scale is None else scale
    check_guidance(scale, loaded.module, "guidance.scale")
    check_sampler(sampling, loaded.module, "")
    sampling.grid(sampling.steps, sampling.path or loaded.module.path)  # refuses a grid that does not fit them
    subject = Subject(
        loaded.module,
        loaded.data(),
        sampling,
        scale,
        n=options.num_samples,
        seed=options.seed,
        batch_size=options.batch_size,
        device=choose_device(options.device),
        precision=options.precision,
    )
    with Console(stderr=True).status("diagnosing") as status:
        diagnosis = diagnose(subject, layout, own.features, lambda part: status.update(f"measuring {part}"))
    checkpoint = {"which": options.checkpoint, "step": loaded.origin.step, "weights": options.weights}
    print(describe_subject(layout, subject, checkpoint), end="\n\n")
    print(write_report(diagnosis), end="\n\n")
    print(textwrap.fill(diagnosis.verdict.text, 100), end="\n\n")
    for kind, file in write_files(diagnosis, subject, layout, checkpoint).items():
        print(f"{kind:10} {file}")
    print(f"{'took':10} {time.perf_counter() - began:.0f} s")
    return 0
