"""Renderers for files and other programs: JSON, Markdown, HTML, JUnit, CSV."""
