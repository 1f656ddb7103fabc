"""Many runs and other machines: submission to a cluster, sweeps."""
