"""Fronts with their uncertainty: spread over seeds, probable means, membership, attainment, hypervolume, comparison."""
