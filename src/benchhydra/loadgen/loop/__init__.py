"""What keeps the event loop exact: timers, busy polling, and its own lag."""
