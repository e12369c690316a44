"""The fake engine's server: OpenAI's endpoints, programmable times and faults, exact counts at ``/stats``.

A program (``python -m benchhydra.fakeserver``) that imports nothing else of benchhydra, so that it starts in a blink.
"""
