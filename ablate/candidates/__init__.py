"""Candidates and trials: configuration, conditional search space, FLOP counting, names."""
