"""The report: results as a static site, or as one HTML file. Python makes data, the scripts in ``static`` draw it.

``site`` names every piece of data (``benchmarks/1f3a``); ``pages`` writes them, one file a piece, so that a browser
loads the index once and then what is shown. Everything about statistics comes from ``analysis``.
"""

from __future__ import annotations

#: How many runs' requests are in a report by default: those of the newest runs.
NEWEST_REQUESTS = 200
