"""The fake engine's server: OpenAI's endpoints, programmable times and faults, exact counts at ``/stats``.

It is a program (``python -m benchhydra.fakeserver``). It imports nothing else of benchhydra, so that it starts quickly.
"""
