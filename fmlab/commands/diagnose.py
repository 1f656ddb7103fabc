"""`fmlab diagnose`: where the error of a run comes from, printed, drawn and kept as JSON."""

from __future__ import annotations

import argparse
import textwrap
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from fmlab.commands.diagnose_report import report
from fmlab.commands.run_sampler import run_sampling, sampler_section
from fmlab.config.parts import Parts
from fmlab.data import TensorSet
from fmlab.diagnosis.diagnose import Diagnosis, diagnose
from fmlab.diagnosis.figure import diagnosis_picture
from fmlab.diagnosis.subject import Subject
from fmlab.errors import UserError
from fmlab.figures import neighbours_picture, save_png
from fmlab.inference.load import load_module
from fmlab.records import RunLayout, atomic_write_json, find_run
from fmlab.training.generation import check_guidance, check_sampler

POINT_PAIRS = 256  # points cost little, and their distances vary more than those of images
SHOWN = 12  # pairs in the picture of neighbours


def diagnose_run(options: argparse.Namespace, parts: Parts) -> int:
    """Diagnoses a run, prints what was found and writes it into the run's folder."""
    began = time.perf_counter()
    run = find_run(options.run)
    loaded = load_module(run, options.checkpoint, options.weights, trust=options.trust)
    module, step = loaded.module, loaded.origin.step
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
    title = heading(run, subject, step, options)
    print(title, end="\n\n")
    print(report(diagnosis), end="\n\n")
    print(textwrap.fill(diagnosis.verdict.text, 100), end="\n\n")
    for kind, file in write(run, subject, diagnosis, title, step, options).items():
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


def heading(run: RunLayout, subject: Subject, step: int, options: argparse.Namespace) -> str:
    """What is diagnosed, in a line."""
    sampling = subject.sampling
    along = f" along {sampling.path!r}" if sampling.path else ""
    guidance = f", guidance scale {subject.guidance_scale:g}" if subject.module.num_classes is not None else ""
    how = f"{sampling.solver!r}, {sampling.steps} steps of {sampling.grid!r}{along}{guidance}"
    return f"{run.experiment}/{run.id}, step {step:,}, {options.weights} weights; {how}"


def write(
    run: RunLayout, subject: Subject, diagnosis: Diagnosis, title: str, step: int, options: argparse.Namespace
) -> dict[str, Path]:
    """The record, the figure and the picture of neighbours, in `diagnosis/` in the run's folder."""
    sampling = subject.sampling
    path = f"_{type(sampling.path).__name__}" if sampling.path else ""
    raw = "_raw" if options.weights == "raw" else ""
    name = f"{type(sampling.solver).__name__}{sampling.steps}{path}_w{subject.guidance_scale:g}_step{step}{raw}"
    folder = run.root / "diagnosis"
    folder.mkdir(parents=True, exist_ok=True)
    files = {"figure": folder / f"{name}.png"}
    save_png(diagnosis_picture(diagnosis, title), files["figure"])
    neighbours = diagnosis.findings.neighbours
    if neighbours is not None and subject.images:
        files["neighbours"] = folder / f"{name}_neighbours.png"
        # From the nearest pair to the farthest: a network that copies a part of its training set shows it on the left.
        order = neighbours.distances.argsort()[torch.linspace(0, len(neighbours.distances) - 1, SHOWN).long().unique()]
        pairs = (neighbours.samples[order], neighbours.nearest[order], neighbours.distances[order])
        save_png(neighbours_picture(*pairs), files["neighbours"])
    files["record"] = folder / f"{name}.json"
    atomic_write_json(files["record"], {"setting": setting(subject, step, options), **diagnosis.record()})
    return files


def setting(subject: Subject, step: int, options: argparse.Namespace) -> dict[str, Any]:
    """How the samples were made, and of what: settings may differ within a comparison."""
    sampling, data = subject.sampling, subject.data
    # Files are hashed by reading them all; a set in memory is hashed at once.
    content = data.reference_hash() if isinstance(data.split(data.reference), TensorSet) else None
    return {
        "checkpoint": {"which": options.checkpoint, "step": step, "weights": options.weights},
        "solver": repr(sampling.solver),
        "grid": repr(sampling.grid),
        "path": repr(sampling.path or subject.module.path),
        "steps": sampling.steps,
        "guidance_scale": subject.guidance_scale,
        "seeds": [subject.seed, subject.seed + subject.n - 1],
        "precision": "32-true",
        "data": {"name": type(data).__name__, "reference": data.reference, "hash": content},
    }
