"""The `fmlab` command: words in, a checked configuration out, and the verbs that act on it."""
