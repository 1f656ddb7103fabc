"""Submission to a SLURM cluster, and what a job needs to be started again."""
