"""Overrides: rewrite the user's words into Hydra's grammar, list groups and options, explain Hydra's errors.

The program uses this, and so do commands that compose experiments.
"""
