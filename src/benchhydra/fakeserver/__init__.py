"""The fake engine's server: OpenAI's endpoints with configurable times and faults; exact counts at ``/stats``.

It is a program (``python -m benchhydra.fakeserver``). It imports no other part of benchhydra, so that it starts fast.
"""
