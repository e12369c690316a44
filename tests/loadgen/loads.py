"""Plans for tests: requests of given prompts to a server on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchhydra.client import Endpoint, Requests
from benchhydra.client.apis import Api, RequestOptions
from benchhydra.client.apis.completions import Completions
from benchhydra.client.request_encoding import encode_request
from benchhydra.datasets import Prompt
from benchhydra.loadgen import LoadPlan


def endpoint_of(port: int, api: Api | None = None, **fields: Any) -> Endpoint:
    """The endpoint of a server on this machine, or at ``base_url``."""
    settings: dict[str, Any] = {"base_url": f"http://127.0.0.1:{port}", "api": api or Completions(), "model": "m"}
    return Endpoint(**settings | fields)


def plan_of(
    endpoint: Endpoint, prompts: Sequence[Prompt], *, options: RequestOptions | None = None, **fields: Any
) -> LoadPlan:
    """A plan that sends these prompts."""
    options = options or RequestOptions()
    requests = Requests(prompt_key=endpoint.api.prompt_key)
    for prompt in prompts:
        request = encode_request(endpoint, prompt, prompt.output_tokens, options)
        requests.add(request, prompt.prompt_tokens, prompt.output_tokens)
    return LoadPlan(endpoint=endpoint, requests=requests, options=options, **fields)
