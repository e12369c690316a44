"""Precise timing in the event loop: timers, busy polling, and a monitor of the loop's lag."""
