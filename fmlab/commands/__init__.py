"""The verbs of `fmlab`, one file each."""
