"""Training: steps, loop, checkpoints, snapshots of averages, probes, memory, divergence."""
