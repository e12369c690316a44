"""What the report's pages show, as plain data for their JavaScript."""
