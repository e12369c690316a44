"""Programs that run in the engine's interpreter, started by path. No other module imports them."""
