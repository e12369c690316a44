"""benchhydra: benchmarks of LLM inference as composed experiments."""

__version__ = "0.1.0"
