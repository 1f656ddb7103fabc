"""Where the error of a run comes from: network, solver, guidance, data."""
