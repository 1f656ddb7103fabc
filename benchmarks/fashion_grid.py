"""A trained Fashion-MNIST run sampled in every way, for docs/results.md: `python benchmarks/fashion_grid.py RUN`

Writes the section from two evaluations that are there already, which take about an hour of one core:

    fmlab evaluate RUN --metrics fid,kid --num_samples 2000 --solver Euler,Heun,DPMSolverPP2M \\
        --steps 5,10,20,50 --out solvers
    fmlab evaluate RUN --metrics fid,kid --num_samples 2000 --solver Euler,Heun --steps 5,10,20 --exact --out solvers
    fmlab evaluate RUN --metrics fid,kid,accuracy,neighbours --num_samples 2000 --solver Euler \\
        --guidance.scale 0,1,1.5,2,4 --out guidance

and, because the exact field knows nothing of the network, from one more of any run on Fashion-MNIST:

    fmlab evaluate RUN --metrics fid,kid,accuracy --num_samples 2000 --solver Euler \\
        --steps 20 --guidance.scale 0,1,1.5,2,4 --exact --out exact_guidance
"""

from __future__ import annotations

import argparse
import re
import shutil

from results_page import RESULTS, write_section

from fmlab.records import find_run

PICTURES = {
    "solvers/fid_domain_by_nfe.png": "fashion_by_nfe.png",
    "guidance/fid_domain_by_guidance_scale.png": "fashion_by_guidance.png",
    "guidance/accuracy_domain_by_guidance_scale.png": "fashion_accuracy_by_guidance.png",
}


def main() -> None:
    """Copies the pictures and writes the sections whose evaluations the run has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run's folder, its id, or an experiment's name")
    folder = find_run(parser.parse_args().run).root / "evaluations"
    if (folder / "solvers").is_dir() and (folder / "guidance").is_dir():
        for source, name in PICTURES.items():
            shutil.copyfile(folder / source, RESULTS.parent / name)
        solvers, guidance = ((folder / name / "results.md").read_text().strip() for name in ("solvers", "guidance"))
        write_section("fashion_grid", section(solvers, guidance))
    if (folder / "exact_guidance").is_dir():
        lines = (folder / "exact_guidance" / "results.md").read_text().strip().splitlines()
        exact = re.sub(r"weights averaged.*?checkpoint\.hash \w+, ", "", "\n".join(lines))  # of the network beside it
        exact = "\n".join(line for line in exact.splitlines() if not line.startswith("| network"))
        write_section("fashion_exact_guidance", exact_section(exact))
    print(f"written into {RESULTS}")


def section(solvers: str, guidance: str) -> str:
    """The section, round the tables as `fmlab evaluate` leaves them."""
    return f"""## One network sampled in every way: Fashion-MNIST

The network of `experiments/dit_fashion.yaml` (2,200 steps of 64 on two cores, in which no network gets good), 2,000
images in every row, and the exact field of its 60,000 training images from the same seeds and labels.
`python benchmarks/fashion_grid.py RUN` names the commands.

### Solvers and steps, without guidance

![Fréchet distance against network forwards, one line per solver](fashion_by_nfe.png)

{solvers}

### Guidance scales, Euler with 20 steps

![Fréchet distance against the guidance scale](fashion_by_guidance.png)
![Class accuracy against the guidance scale](fashion_accuracy_by_guidance.png)

{guidance}"""


def exact_section(table: str) -> str:
    """The section about the exact field, round its rows of the table."""
    return f"""### The same guidance of the exact field

The field that a perfect network would have learned of the 60,000 training images, by class and guided away from all of
them:

{table}"""


if __name__ == "__main__":
    main()
