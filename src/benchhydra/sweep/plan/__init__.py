"""Planning: from a command line to groups of points, before anything is started."""
