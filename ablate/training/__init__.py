"""Training: steps, checkpoints, averages, probes, and why one went out of range."""
