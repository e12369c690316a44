"""Trials of ``search=optimize``: configurations that need servers of their own, one group a trial."""
