"""Pure decision: what each box must be told about one specimen."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from cloud.lis.worklists import dilutions
from protocols.model import Order
from protocols.uplink.items import order_to_json


@dataclass(frozen=True, slots=True)
class Ability:
    """One test that one instrument takes in an order, by the instrument's own code."""

    gateway: str
    link: str
    test_id: uuid.UUID
    code: str
    driver: str = ""
    """Of the instrument: says whether an order of it can carry a dilution."""


def orders_by_gateway(
    abilities: Iterable[Ability],
    test_ids: Collection[uuid.UUID],
    specimen: Order,
    diluted: Mapping[uuid.UUID, str] = MappingProxyType({}),
) -> dict[str, dict[str, Any]]:
    """Box to link to order (JSON), for every instrument that can do at least one of the tests.

    `specimen` is the order without codes. Two instruments that can do one test are both told: the tube decides by where
    it is put. `diluted`: factors by test; only an instrument whose order has a place for one is told.
    """
    codes: dict[tuple[str, str], list[str]] = {}
    factors: dict[tuple[str, str], dict[str, str]] = {}
    for each in abilities:
        if each.test_id in test_ids:
            place, factor = (each.gateway, each.link), diluted.get(each.test_id, "")
            codes.setdefault(place, []).append(each.code)
            if dilutions.can(each.driver, factor):
                factors.setdefault(place, {})[each.code] = factor
    found: dict[str, dict[str, Any]] = {}
    for (gateway, link), wanted in sorted(codes.items()):
        order = Order(
            specimen=specimen.specimen,
            codes=tuple(dict.fromkeys(wanted)),
            priority=specimen.priority,
            specimen_type=specimen.specimen_type,
            collected_at=specimen.collected_at,
            dilutions=tuple(factors.get((gateway, link), {}).items()),
        )
        found.setdefault(gateway, {})[link] = _as_stored(order)
    return found


def _as_stored(order: Order) -> dict[str, Any]:
    """As the database gives it back, so that two can be compared."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in order_to_json(order).items()}
