"""Designs with several factors: main effects, interactions, and where ranks reverse."""
