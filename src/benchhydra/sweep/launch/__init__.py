"""Handing groups to Hydra's launchers."""
