"""The points of a specimen's road whose times are compared, and the spans between them that have a name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cloud.web.i18n import mark as N_


class Point(StrEnum):
    """In the order in which a specimen passes them; the name of the column with its time is ``<value>_at``."""

    ORDERED = "ordered"
    PRINTED = "printed"
    COLLECTED = "collected"
    SENT = "sent"
    RECEIVED = "received"
    LOADED = "loaded"
    RESULTED = "resulted"
    REVIEWED = "reviewed"
    RELEASED = "released"


ROAD = tuple(Point)
POINT_NAMES = {
    Point.ORDERED: N_("开单"),
    Point.PRINTED: N_("打印条码"),
    Point.COLLECTED: N_("采集"),
    Point.SENT: N_("送出"),
    Point.RECEIVED: N_("接收"),
    Point.LOADED: N_("上机"),
    Point.RESULTED: N_("结果"),
    Point.REVIEWED: N_("初审"),
    Point.RELEASED: N_("审核发布"),
}


@dataclass(frozen=True, slots=True)
class Span:
    """From one point to a later one."""

    start: Point
    end: Point
    name: str = ""
    """A Chinese sentence marked with ``N_``; empty: it has no name of its own."""

    @property
    def key(self) -> str:
        return f"{self.start}-{self.end}"


SPANS = (
    Span(Point.ORDERED, Point.COLLECTED, N_("开单到采集")),
    Span(Point.COLLECTED, Point.RECEIVED, N_("检验前周转（采集到接收）")),
    Span(Point.RECEIVED, Point.LOADED, N_("接收到上机")),
    Span(Point.LOADED, Point.RESULTED, N_("上机到结果")),
    Span(Point.RECEIVED, Point.RESULTED, N_("接收到结果")),
    Span(Point.RESULTED, Point.REVIEWED, N_("结果到初审")),
    Span(Point.REVIEWED, Point.RELEASED, N_("初审到发布")),
    Span(Point.RESULTED, Point.RELEASED, N_("结果到发布")),
    Span(Point.RECEIVED, Point.RELEASED, N_("实验室内周转（接收到发布）")),
    Span(Point.ORDERED, Point.RELEASED, N_("开单到发布")),
)
"""检验前 TAT is collection to receipt, 实验室内 TAT receipt to report (indicators 6 and 12 of the national fifteen)."""
IN_LABORATORY = SPANS[8]
STARTS = (Point.ORDERED, Point.COLLECTED, Point.RECEIVED)
"""Where a target may begin; it ends with the release."""


def span_of(key: str) -> Span:
    """The span an address names, any two points in their order; the time in the laboratory where it names none."""
    start, _, end = key.partition("-")
    for each in SPANS:
        if each.key == key:
            return each
    try:
        found = Span(Point(start), Point(end))
    except ValueError:
        return IN_LABORATORY
    return found if ROAD.index(found.start) < ROAD.index(found.end) else IN_LABORATORY
