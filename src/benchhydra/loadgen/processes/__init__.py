"""Client processes on this machine: their program, the parent that starts them, and the protocol between the two."""
