"""Client processes on this machine: the program that runs in them, what starts them, and the bytes between the two."""
