"""Evaluation of trained networks: sampling, metrics of quality, discretisation error of solvers."""
