"""One group of points on one server: the job that a launcher runs."""
