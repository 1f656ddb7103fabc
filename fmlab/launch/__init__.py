"""Runs started elsewhere: SLURM jobs and sweeps. Nothing heavy is imported with the package."""
