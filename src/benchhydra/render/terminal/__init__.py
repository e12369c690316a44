"""Renderers for the terminal."""
