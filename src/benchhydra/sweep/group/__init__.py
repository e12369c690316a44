"""One group: the job that measures the points of one server, in whatever process or machine the launcher runs it."""
