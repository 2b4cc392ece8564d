"""Sampling, metrics, and what a solver alone does to samples."""
