"""Tables for a terminal. Each module declares its renderers."""
