"""The HTTP client: sends request bytes, parses answers, and time-stamps each packet.

``apis`` encode requests and interpret answers; ``ResponseParser`` combines HTTP framing, event splitting and the chunk
template; ``Connection`` is an asyncio.Protocol that reads the clock; ``ConnectionPool`` keeps connections open.
"""

from benchhydra.client.endpoint import Endpoint
from benchhydra.client.request_store import Requests

__all__ = ["Endpoint", "Requests"]
