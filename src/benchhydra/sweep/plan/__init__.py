"""Which points a sweep has, on which servers, in which order, and which of them are done already."""
