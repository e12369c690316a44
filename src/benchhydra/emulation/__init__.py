"""What models of a server, fitted to the requests of one load, make of its arrivals and lengths, and of others."""
