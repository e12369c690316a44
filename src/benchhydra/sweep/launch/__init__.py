"""Running groups on Hydra's launchers, and collecting their outcomes."""
