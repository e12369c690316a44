"""Projections of results for people: tables on the terminal, Markdown and CSV. One file a format."""
