"""Client processes on the nodes of a Ray cluster. Ray is an optional package: it is imported where it is used."""
