"""Documents for files and other programs: JSON, Markdown, HTML, JUnit, CSV. Each module declares its renderers."""
