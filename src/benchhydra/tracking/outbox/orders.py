"""Orders to the process that logs, and the queue in which they wait."""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from pathlib import Path
from typing import Any

from benchhydra.registry import option_name
from benchhydra.tracking import Tracking


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
    """What the process has to do, since when it waits, and the directory of the result that it logs, if it logs one."""

    text: str
    since_s: float
    directory: Path | None = None


def order_text(tracking: Tracking, action: str, **arguments: Any) -> str:
    """The line that the process reads: what to do with which tracker."""
    settings = dataclasses.asdict(tracking)
    return json.dumps({"do": action, "option": option_name(tracking), "settings": settings, **arguments})


class OrderQueue:
    """Orders in the sequence in which they came. One thread adds, another one removes."""

    def __init__(self) -> None:
        self._orders: deque[Order] = deque()

    def __bool__(self) -> bool:
        return bool(self._orders)

    def results(self) -> int:
        """How many results the orders log."""
        return sum(order.directory is not None for order in tuple(self._orders))

    def add(self, order: Order) -> None:
        """Append an order."""
        self._orders.append(order)

    def first(self) -> Order | None:
        """The order that has waited longest."""
        return next(iter(tuple(self._orders)), None)

    def remove_first(self) -> None:
        """Forget the first order."""
        self._orders.popleft()

    def remove_all(self) -> list[Order]:
        """Forget all orders, and return them."""
        orders = list(self._orders)
        self._orders.clear()
        return orders
