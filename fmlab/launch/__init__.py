"""Many runs: sweeps of a file, here or through Weights & Biases. Nothing heavy is imported with the package."""
