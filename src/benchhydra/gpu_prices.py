"""The price of the GPUs that a server uses, if the config names one: there is no price that is right for everybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchhydra.facts import fact
from benchhydra.target import Gpus

SERVER_PRICE_PER_HOUR = fact(
    "server_price_per_hour",
    unit="USD/h",
    doc="price of all GPUs of the server for an hour, from the config",
    in_metadata=True,
)


def server_price_per_hour(gpus: Gpus, count: int | None, names: Sequence[str]) -> float | None:
    """Return the price of a server's GPUs for an hour; None if it has none, or if their number or a price is unknown.

    ``names``: of the GPUs, () if unknown (a server that benchhydra did not start); then only ``gpus.price_per_hour``
    gives a price.
    """
    if not count:
        return None
    if gpus.price_per_hour is not None:
        return count * gpus.price_per_hour
    prices = [price for name in names if (price := _listed_price(gpus.prices, name)) is not None]
    return sum(prices) if len(prices) == count else None


def _listed_price(prices: Mapping[str, float], name: str) -> float | None:
    """Return the price under the longest key that is a part of the GPU's name, in upper or lower case."""
    parts = [part for part in prices if part.lower() in name.lower()]
    return prices[max(parts, key=len)] if parts else None
