"""Fixtures for the tests of results."""

from results_folders import conditioning, study

__all__ = ["conditioning", "study"]
