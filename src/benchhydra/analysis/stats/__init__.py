"""Statistics of comparison and search, one file a method."""
