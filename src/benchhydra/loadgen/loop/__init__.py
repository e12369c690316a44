"""Precise timing in the event loop: timers, and a monitor of the loop's lag."""
