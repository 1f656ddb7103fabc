"""`fmlab diagnose`: where the error of a run comes from, printed, drawn and kept as JSON."""

from __future__ import annotations

import argparse
import textwrap
import time

import torch
from rich.console import Console

from fmlab.commands.run_sampler import run_sampling, sampler_section
from fmlab.config.parts import Parts
from fmlab.diagnosis.diagnose import diagnose
from fmlab.diagnosis.report import describe_subject, write_files, write_report
from fmlab.diagnosis.subject import Subject
from fmlab.errors import UserError
from fmlab.inference.load import load_module
from fmlab.records import find_run
from fmlab.training.generation import check_guidance, check_sampler

POINT_PAIRS = 256  # points cost little, and their distances vary more than those of images


def diagnose_run(options: argparse.Namespace, parts: Parts) -> int:
    """Diagnoses a run, prints what was found and writes it into the run's folder."""
    began = time.perf_counter()
    run = find_run(options.run)
    loaded = load_module(run, options.checkpoint, options.weights, trust=options.trust)
    module = loaded.module
    section = sampler_section(run)
    sampling, scale = run_sampling(section, options, parts)
    check_guidance(scale, module, "guidance_scale")
    check_sampler(sampling, module, "")
    sampling.grid(sampling.steps, sampling.path or module.path)  # a grid that does not go with them is refused now
    subject = Subject(
        module,
        loaded.data(),
        sampling,
        scale,
        n=options.n,
        seed=options.seed,
        batch_size=options.batch_size,
        device=choose_device(options.device),
    )
    if not subject.images:
        subject.pairs = min(POINT_PAIRS, subject.n)
    with Console(stderr=True).status("diagnosing") as status:
        diagnosis = diagnose(
            subject, run, section.get("features", "auto"), lambda what: status.update(f"measuring {what}")
        )
    checkpoint = {"which": options.checkpoint, "step": loaded.origin.step, "weights": options.weights}
    print(describe_subject(run, subject, checkpoint), end="\n\n")
    print(write_report(diagnosis), end="\n\n")
    print(textwrap.fill(diagnosis.verdict.text, 100), end="\n\n")
    for kind, file in write_files(diagnosis, subject, run, checkpoint).items():
        print(f"{kind:10} {file}")
    print(f"{'took':10} {time.perf_counter() - began:.0f} s")
    return 0


def choose_device(word: str | None) -> torch.device:
    """The device of that name; a GPU if there is one.

    Raises:
        UserError: If there is none of that name.
    """
    try:
        return torch.device(word or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise UserError(f"there is no device {word!r}", key="device", hint="cpu, cuda, cuda:1, mps") from error
