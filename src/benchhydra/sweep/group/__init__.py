"""One group: the job that measures the points of one server, wherever a launcher has put it."""
