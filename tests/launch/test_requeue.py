"""When SLURM is asked to start a job again, and what the exit codes are."""

from __future__ import annotations

import signal

import pytest

from fmlab.launch.slurm.client import exit_code, refusal

JOB = {"SLURM_JOB_ID": "1", "FMLAB_MAX_RESTARTS": "3"}


@pytest.mark.parametrize(
    ("name", "environment", "why_not"),
    [
        ("SIGUSR1", JOB, None),
        ("SIGUSR1", {**JOB, "SLURM_RESTART_COUNT": "2"}, None),
        ("SIGUSR1", {**JOB, "SLURM_RESTART_COUNT": "3"}, "restarted 3 times"),
        ("SIGUSR1", {"SLURM_JOB_ID": "1"}, "FMLAB_MAX_RESTARTS is not set"),
        ("SIGUSR1", {"FMLAB_MAX_RESTARTS": "3"}, "no SLURM job"),
        ("SIGTERM", JOB, "SLURM decides by itself"),
        ("SIGINT", JOB, "SLURM decides by itself"),
    ],
)
def test_when_to_requeue(name: str, environment: dict[str, str], why_not: str | None) -> None:
    reason = refusal(signal.Signals[name], environment)
    assert (reason is None) == (why_not is None)
    assert why_not is None or why_not in str(reason)


def test_exit_codes() -> None:
    assert [exit_code(signal.Signals[name]) for name in ("SIGUSR1", "SIGTERM", "SIGINT")] == [75, 75, 130]
