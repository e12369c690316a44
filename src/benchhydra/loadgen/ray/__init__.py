"""Client processes on the nodes of a Ray cluster."""
