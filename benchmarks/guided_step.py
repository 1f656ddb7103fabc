"""Both forwards of a guided step as one batch or as two: `python benchmarks/guided_step.py [--threads 1]`

The network is that of experiments/digits.yaml. One and two take turns, so that other work on the machine meets both.
Its figures decide `fmlab.fields.learned.CPU_POINTS`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fmlab.fields import LearnedField, guided, learned
from fmlab.networks import DiT
from fmlab.paths import CondOT


def milliseconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


@torch.no_grad()
def compare(network: DiT, points: int, turns: int) -> tuple[list[float], list[float]]:
    """Milliseconds of a guided step in one batch, and in two, taking turns; the first turn is not counted."""
    x, t = torch.randn(points, *network.shape), torch.tensor(0.5)
    field = guided(LearnedField(network, CondOT(), "velocity", torch.arange(points) % 10), 2.0)
    one, two = [], []

    def step(most: int) -> Tensor:
        learned.CPU_POINTS = most
        return field(x, t).velocity

    for _ in range(turns + 1):
        one.append(milliseconds(lambda: step(points)))
        two.append(milliseconds(lambda: step(0)))
    return one[1:], two[1:]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--points", type=int, nargs="+", default=[8, 16, 32, 64, 128, 256])
    parser.add_argument("--images", type=int, default=3000, help="guided images per row, over all its turns")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    network = DiT((1, 8, 8), 10, patch_size=2, width=128, depth=4, heads=4).eval()
    print("points   one batch   two batches   ratio of medians   ratio of best")
    for points in options.points:
        one, two = compare(network, points, max(3, options.images // points))
        median, best = (rate(one) / rate(two) for rate in (statistics.median, min))
        print(f"{points:6}   {min(one):6.2f} ms   {min(two):8.2f} ms   {median:16.2f}   {best:13.2f}", flush=True)


if __name__ == "__main__":
    main()
