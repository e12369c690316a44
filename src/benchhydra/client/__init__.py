"""The HTTP client: request bytes out, answers in, a time stamp for each packet.

``apis`` says what requests hold and answers mean; ``ResponseParser`` puts HTTP framing, event splitting and the chunk
template together; ``Connection`` is one asyncio.Protocol that reads the clock; ``ConnectionPool`` keeps them open.
"""

from benchhydra.client.endpoint import Endpoint
from benchhydra.client.request_store import Requests

__all__ = ["Endpoint", "Requests"]
