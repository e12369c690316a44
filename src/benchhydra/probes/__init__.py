"""What is observed while a load runs: the client, the server, the host and its GPUs."""
