"""Sweeps over a function of a moment: a trial is a small program that writes its metric where a run would."""

from __future__ import annotations

import sys
from pathlib import Path

PROGRAM = """\
import sys
import time
from fmlab.records import CsvMetrics, trial_folder

given = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
x, y = float(given["x"]), float(given.get("y", 0))
if given.get("fault") == "True":
    sys.exit("error: this one is broken")
metrics = CsvMetrics(trial_folder() / "metrics.csv")
for report in range(int(given.get("reports", 1))):
    metrics.write(report, {"loss": (x - 2) ** 2 + y + 0.1 / (1 + report)})
    time.sleep(float(given.get("seconds", 0)))
"""


def write_sweep(folder: Path, text: str, name: str = "trivial") -> Path:
    """A sweep file over the program, in which `text` gives method and parameters."""
    (folder / "trial.py").write_text(PROGRAM)
    file = folder / f"{name}.yaml"
    command = f'command: ["{sys.executable}", "{folder}/trial.py", "${{args}}"]'
    file.write_text(f"program: trial.py\nmetric: {{name: loss, goal: minimize}}\n{command}\n{text}\n")
    return file
