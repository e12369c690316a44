"""Handing groups to Hydra's launchers, and collecting how they ended."""
