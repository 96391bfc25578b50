"""The host's side of a POCT1-A conversation: what we ask of the device next, and what we wait for.

Device: HEL, DST (each acknowledged). Then we ask for what DST counted (REQ ROBS for observations, REQ RDEV for events),
one topic at a time: each document of the topic is acknowledged, the device's EOT ends it. Then the caller's own
directives and lists, one at a time; then DTV START_CONTINUOUS where HEL offers it (from there on the device sends
when it has something), else END.

Sources: the CLSI POCT01-A2 flow as a captured Siemens DCA Vantage dialogue and public host programs (Nova StatStrip,
PixCell HemoScreen) show it. The device is never asked to erase, and its clock is never set unasked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from protocols.errors import LocalProtocolError
from protocols.messages.poct1a import Body, Poct1aMessage, leaf

DEFAULT_TIMEOUT_S = 60.0
_SHORTEST_TIMEOUT_S, _LONGEST_TIMEOUT_S = 5.0, 600.0


class Stage(Enum):
    """Where the conversation stands."""

    AWAITING_HELLO = "nothing heard yet"
    AWAITING_STATUS = "the device has named itself"
    READY = "it is our turn to ask"
    OBSERVATIONS_REQUESTED = "REQ ROBS sent: observations until EOT"
    EVENTS_REQUESTED = "REQ RDEV sent: device events until EOT"
    DIRECTING = "a directive or list of ours waits for its ACK"
    CONTINUOUS_OFFERED = "DTV START_CONTINUOUS sent"
    CONTINUOUS = "the device sends when it has something"
    ENDING = "END sent"
    ENDED = "the conversation is over"


_ANYWHERE = {Stage.AWAITING_HELLO, Stage.AWAITING_STATUS, Stage.ENDED}
"""A closed connection, a device that begins again, an END of the device's."""
TRANSITIONS: Mapping[Stage, set[Stage]] = {
    Stage.AWAITING_HELLO: _ANYWHERE | {Stage.READY},
    Stage.AWAITING_STATUS: _ANYWHERE | {Stage.READY},
    Stage.READY: _ANYWHERE
    | {
        Stage.OBSERVATIONS_REQUESTED,
        Stage.EVENTS_REQUESTED,
        Stage.DIRECTING,
        Stage.CONTINUOUS_OFFERED,
        Stage.ENDING,
    },
    Stage.OBSERVATIONS_REQUESTED: _ANYWHERE | {Stage.READY},
    Stage.EVENTS_REQUESTED: _ANYWHERE | {Stage.READY},
    Stage.DIRECTING: _ANYWHERE | {Stage.READY, Stage.CONTINUOUS},
    Stage.CONTINUOUS_OFFERED: _ANYWHERE | {Stage.READY, Stage.CONTINUOUS},
    Stage.CONTINUOUS: _ANYWHERE | {Stage.DIRECTING},
    Stage.ENDING: _ANYWHERE,
    Stage.ENDED: _ANYWHERE,
}
LEADING = ("HEL.R01", "DST.R01", "EOT.R01", "END.R01", "ACK.R01", "ESC.R01", "REQ.R01")
"""Documents that say something of the conversation; all others are results, events, or the vendor's own."""
WAITING = {
    Stage.OBSERVATIONS_REQUESTED,
    Stage.EVENTS_REQUESTED,
    Stage.DIRECTING,
    Stage.CONTINUOUS_OFFERED,
    Stage.ENDING,
}
"""Stages in which the device owes us something."""


@dataclass(frozen=True, slots=True)
class Request:
    """A document that the dialogue wants sent now."""

    kind: str
    body: Body


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the device said to a document of ours: its control id, and whether it accepted."""

    control_id: str
    accepted: bool
    detail: str = ""


class HostDialogue:
    """One conversation after another with one device. Knows no bytes and no time."""

    def __init__(self, *, continuous: bool = True) -> None:
        """`continuous` false: never ask for continuous mode, end the conversation when all has been fetched."""
        self._may_continue = continuous
        self.begin_again()

    def begin_again(self) -> None:
        """The connection closed."""
        self.stage = Stage.AWAITING_HELLO
        self.timeout_s = DEFAULT_TIMEOUT_S
        self._directives: set[str] = set()
        self._observations = False
        self._events = False
        self._refused_continuous = False
        self._was_continuous = False

    def move_to(self, stage: Stage) -> None:
        if stage not in TRANSITIONS[self.stage]:
            raise LocalProtocolError(f"no way from {self.stage.name} to {stage.name}")
        self.stage = stage

    @property
    def is_waiting(self) -> bool:
        return self.stage in WAITING

    @property
    def may_direct(self) -> bool:
        """May a directive or list of the caller's go out now?"""
        wanted = self._observations or self._events
        return self.stage is Stage.CONTINUOUS or (self.stage is Stage.READY and not wanted)

    # ------------------------------------------------------------------ what the device said

    def heard(self, message: Poct1aMessage) -> Outcome | None:
        """A durable document of the device's; gives back its answer to a document of ours, if it is one."""
        kind = message.kind
        if kind == "HEL.R01":
            self._hello(message)
        elif kind == "DST.R01":
            self._status(message)
        elif kind == "EOT.R01":
            self._topic_ended()
        elif kind == "END.R01":
            self.move_to(Stage.ENDED)
        elif kind == "ACK.R01":
            return self._acknowledged(message)
        elif kind == "ESC.R01":
            return self._escaped(message)
        return None

    def _hello(self, message: Poct1aMessage) -> None:
        self.begin_again()
        self.move_to(Stage.AWAITING_STATUS)
        for element in message.root.walk():
            if element.name == "DSC.directives_supported_cd":
                self._directives.add(element.value)
            elif element.name == "DCP.application_timeout":
                self.timeout_s = _seconds(element.value)

    def _status(self, message: Poct1aMessage) -> None:
        status = message.root.first("DST")
        count = status.field("DST.new_observations_qty") if status is not None else ""
        self._observations = _positive(count) or not count
        self._events = status is not None and _positive(status.field("DST.new_events_qty"))
        if self.stage in (Stage.AWAITING_HELLO, Stage.AWAITING_STATUS):
            self.move_to(Stage.READY)

    def _topic_ended(self) -> None:
        if self.stage is Stage.OBSERVATIONS_REQUESTED:
            self._observations = False
            self.move_to(Stage.READY)
        elif self.stage is Stage.EVENTS_REQUESTED:
            self._events = False
            self.move_to(Stage.READY)

    def _acknowledged(self, message: Poct1aMessage) -> Outcome:
        answer = message.root.first("ACK")
        fields = {} if answer is None else {each.name: each.value for each in answer.children}
        control_id = fields.get("ACK.ack_control_id") or fields.get("ACK.control_id", "")
        type_code = fields.get("ACK.type_cd") or fields.get("ACK.type_id", "")
        detail = " ".join(filter(None, (type_code, fields.get("ACK.error_detail_cd"), fields.get("ACK.note_txt"))))
        return Outcome(control_id, type_code != "AE", detail)

    def _escaped(self, message: Poct1aMessage) -> Outcome:
        escape = message.root.first("ESC")
        fields = {} if escape is None else {each.name: each.value for each in escape.children}
        control_id = fields.get("ESC.esc_control_id", "")
        detail = " ".join(filter(None, ("ESC", fields.get("ESC.detail_cd"), fields.get("ESC.note_txt"))))
        return Outcome(control_id, False, detail)

    # ------------------------------------------------------------------ what became of a document of ours

    def settle(self, accepted: bool) -> None:
        """The device answered the document that we wait for, or (`accepted` false) refused it or fell silent."""
        stage = self.stage
        if stage in (Stage.OBSERVATIONS_REQUESTED, Stage.EVENTS_REQUESTED):
            if not accepted:
                self._topic_ended()  # asked again when the next status counts them
        elif stage is Stage.DIRECTING:
            self.move_to(Stage.CONTINUOUS if self._was_continuous else Stage.READY)
        elif stage is Stage.CONTINUOUS_OFFERED:
            self._refused_continuous = not accepted
            self.move_to(Stage.CONTINUOUS if accepted else Stage.READY)
        elif stage is Stage.ENDING:
            self.move_to(Stage.ENDED)

    # ------------------------------------------------------------------ what we say

    def next(self) -> Request | None:
        """What to send now of our own accord; the stage moves with it."""
        if self.stage is not Stage.READY:
            return None
        if self._observations:
            self.move_to(Stage.OBSERVATIONS_REQUESTED)
            return Request("REQ.R01", ("REQ", None, (leaf("REQ.request_cd", "ROBS"),)))
        if self._events:
            self.move_to(Stage.EVENTS_REQUESTED)
            return Request("REQ.R01", ("REQ", None, (leaf("REQ.request_cd", "RDEV"),)))
        if self._may_continue and "START_CONTINUOUS" in self._directives and not self._refused_continuous:
            self.move_to(Stage.CONTINUOUS_OFFERED)
            return Request("DTV.R01", ("DTV", None, (leaf("DTV.command_cd", "START_CONTINUOUS"),)))
        self.move_to(Stage.ENDING)
        return Request("END.R01", ("TRM", None, (leaf("TRM.reason_cd", "NRM"),)))

    def direct(self) -> None:
        """A directive or list of the caller's goes out."""
        self._was_continuous = self.stage is Stage.CONTINUOUS
        self.move_to(Stage.DIRECTING)


def _positive(count: str) -> bool:
    return count.isdigit() and count.strip("0") != ""


def _seconds(text: str) -> float:
    """The device's application timeout, kept within what can be meant."""
    try:
        value = float(text)
    except ValueError:
        return DEFAULT_TIMEOUT_S
    return min(max(value, _SHORTEST_TIMEOUT_S), _LONGEST_TIMEOUT_S) if value == value else DEFAULT_TIMEOUT_S
