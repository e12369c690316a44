"""Programs that run in the engine's interpreter, started by path. Nothing of benchhydra imports them."""
