"""What keeps the event loop exact: timers, busy polling, and a monitor of its own lag."""
