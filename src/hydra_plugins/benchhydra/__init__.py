"""Where Hydra looks for the plugin that runs sweeps."""
