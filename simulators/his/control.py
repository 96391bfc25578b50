"""The HIS's own counters and its temper over HTTP, for tests, demonstrations and whoever sits in front of it.

POST /sessions, /sessions/stop, /windows/sell, /windows/give-back, /charges, /charges/void, /charges/paid,
/charges/executed, /faults, /faults/clear, /down, /up; GET /stand. Nothing here is part of any vendor's interface.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

from simulators.his import telling
from simulators.his.book import Refusal, Session
from simulators.his.client import HisClient
from simulators.his.faults import Fault
from simulators.his.receiver import HisReceiver
from simulators.his.telling import Fee, Message
from simulators.http_service import Answer, HttpService, Request, as_json
from simulators.ledger import Ledger
from simulators.people import Person

Body = dict[str, Any]
TRIES = 5
"""So often the other side is told before whoever asked hears that it would not."""


class HisControl(HttpService):
    """Drives one HIS. `client` tells the other side; without one nothing is told."""

    def __init__(
        self, ledger: Ledger, receiver: HisReceiver, client: HisClient | None, now: Callable[[], datetime]
    ) -> None:
        super().__init__(ledger)
        self._his = receiver
        self._client = client
        self._now = now
        self._numbers = itertools.count(1)
        self._telling = threading.Lock()
        self._bills: dict[str, Body] = {}
        for path, act in {
            "/sessions": self._publish,
            "/sessions/stop": self._stop,
            "/windows/sell": self._sell,
            "/windows/give-back": self._give_back,
            "/charges": self._charge,
            "/charges/void": lambda body: self._again(body, "CD"),
            "/charges/paid": lambda body: self._again(body, "PY"),
            "/charges/executed": self._executed,
            "/faults": self._fault,
            "/faults/clear": lambda body: self._done(self._his.temper.clear),
            "/down": lambda body: self._done(self._his.go_down),
            "/up": lambda body: self._done(self._his.come_back),
        }.items():
            self.routes["POST", path] = self._route(act)
        self.routes["GET", "/stand"] = lambda request: as_json(self.stand())

    def _route(self, act: Callable[[Body], Body]) -> Callable[[Request], Answer]:
        def answer(request: Request) -> Answer:
            try:
                return as_json(act(request.json()))
            except Refusal as refusal:
                return as_json({"error": refusal.word or refusal.condition, "text": refusal.text}, 409)
            except (KeyError, TypeError, ValueError) as error:
                return as_json({"error": f"{type(error).__name__}: {error}"}, 400)

        return answer

    def stand(self) -> Body:
        """Sessions with what is sold of them, the sums of the money, what was executed."""
        book = self._his.book
        with book.lock:
            return {
                "sessions": {
                    each.code: {
                        "capacity": each.capacity,
                        "windows": sum(not one.key for one in each.taken.values()),
                        "phones": sum(bool(one.key) for one in each.taken.values()),
                        "stopped": each.stopped,
                    }
                    for each in book.sessions.values()
                },
                "money": {
                    "lines": len(book.money),
                    "paid_fen": sum(each.fen for each in book.money.values() if each.fen > 0),
                    "refunded_fen": -sum(each.fen for each in book.money.values() if each.fen < 0),
                    "repeats": sum(each.times - 1 for each in book.money.values()),
                },
                "executed": sorted(book.executed),
            }

    def _publish(self, body: Body) -> Body:
        """`starts_at`, `ends_at` ISO 8601 with zone."""
        body["starts_at"], body["ends_at"] = (datetime.fromisoformat(body[each]) for each in ("starts_at", "ends_at"))
        reason = str(body.pop("reason", ""))
        return {"code": body["code"], "event": self.publish(Session(**body), reason)}

    def publish(self, session: Session, reason: str = "") -> str:
        """Into the book, and told: as new (S24) or as changed (S14)."""
        event = "S14" if session.code in self._his.book.sessions else "S24"
        made = self._his.book.publish(session)
        self._tell(lambda number: telling.session_opened(made, number, self._now(), event=event, reason=reason))
        return event

    def _stop(self, body: Body) -> Body:
        stopped = self._his.book.stop(body["code"], str(body.get("why", "")))
        self._tell(lambda number: telling.session_stopped(stopped, number, self._now()))
        return {"code": stopped.code}

    def _sell(self, body: Body) -> Body:
        sold = [self._his.book.sell_at_window(body["code"]).seq for _ in range(int(body.get("count", 1)))]
        session = self._his.book.sessions[body["code"]]
        self._tell(lambda number: telling.number_moved(session, number, self._now(), sold=True))
        return {"sold": sold}

    def _give_back(self, body: Body) -> Body:
        freed = self._his.book.give_back_at_window(body["code"], int(body["seq"]))
        session = self._his.book.sessions[body["code"]]
        self._tell(lambda number: telling.number_moved(session, number, self._now(), sold=False))
        return {"freed": freed.seq}

    def _charge(self, body: Body) -> Body:
        """{"person": {...}, "visit", "number", "department": [code, name], "fees": [{...}]}"""
        self._bills[str(body["number"])] = body
        return self._again(body, "CG")

    def _again(self, body: Body, kind: str) -> Body:
        said = self._bills[str(body["number"])]
        person = Person(**said["person"])
        fees = [Fee(**each) for each in said["fees"]]
        place = (str(said["department"][0]), str(said["department"][1]))
        visit, bill_number = str(said.get("visit", "")), str(said["number"])
        self._tell(lambda number: telling.bill(person, visit, bill_number, fees, place, number, self._now(), kind=kind))
        return {"number": bill_number, "kind": kind}

    def _executed(self, body: Body) -> Body:
        lines = [str(each) for each in body["lines"]]
        self._tell(lambda number: telling.executed(str(body["number"]), lines, number, self._now()))
        return {"lines": lines}

    @staticmethod
    def _done(act: Callable[[], None]) -> Body:
        act()
        return {}

    def _fault(self, body: Body) -> Body:
        self._his.temper.set(Fault(**body))
        return body

    def _tell(self, make: Callable[[str], Message]) -> None:
        if self._client is not None:
            with self._telling:
                number = f"S{self._now():%y%m%d%H%M%S}{next(self._numbers):06d}"
                if self._client.send(make(number), most=TRIES, kind="told") is None:
                    raise Refusal("NOT_TOLD", "对方没有接受，请看流水")


def tomorrows(today: date, zone: Any, *, count: int = 3) -> list[Session]:
    """A few half-days that this HIS owns, for a demonstration."""
    found = []
    for number in range(1, count + 1):
        starts = datetime(today.year, today.month, today.day, 8, tzinfo=zone) + timedelta(days=number)
        found.append(
            Session(
                code=f"HIS-NK-{starts:%Y%m%d}-AM",
                department="HISNK",
                department_name="特需内科",
                doctor="HD001",
                doctor_name="顾仲言",
                starts_at=starts,
                ends_at=starts + timedelta(hours=4),
                fee_fen=10_000,
                capacity=20,
                segment_minutes=30,
                title="主任医师",
                place="门诊楼五层 特需诊室",
            )
        )
    return found
