"""Hydra's door to benchhydra's sweeper."""
