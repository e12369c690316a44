"""Client processes on the nodes of a Ray cluster. Ray is an optional package, imported inside functions."""
