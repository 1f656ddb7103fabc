"""Submission to a SLURM cluster, and what a job needs to go on."""
