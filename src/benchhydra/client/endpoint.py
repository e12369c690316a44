"""The server's endpoint: URL, API, model and credentials."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from benchhydra.client.apis import Api


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A server's endpoint. ``headers`` may contain the API key: never show, log or store them.

    api_path: the path below ``base_url`` of the server's API, which replaces the ``/v1`` of ``api.path``.
    answer_model: the model's name that answers must have; "": any. adapter_models: the same, by the label ``adapter``
    of a request; () if all answers must have ``answer_model``. replica_urls: the servers that the load generator
    deals requests to, by the label ``replica`` of a request; () if there is only ``base_url``. keep_alive: whether a
    connection is used again after an answer.
    """

    base_url: str
    api: Api
    api_path: str = "/v1"
    model: str = ""
    answer_model: str = ""
    adapter_models: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    verify_tls: bool = True
    ca_file: str | None = None
    replica_urls: tuple[str, ...] = ()
    keep_alive: bool = True

    def replica(self, number: int) -> Endpoint:
        """Return the endpoint of one of several servers that share the load; this one without several."""
        return replace(self, base_url=self.replica_urls[number], replica_urls=()) if self.replica_urls else self
