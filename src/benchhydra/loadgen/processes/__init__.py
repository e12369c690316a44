"""Client processes on this machine, and the bytes that go between them and us."""
