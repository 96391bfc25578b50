"""The host's side of a POCT1-A conversation: what a device hears from us, when, and what never before the commit."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from protocols.errors import LocalProtocolError
from protocols.instruments.generic_poct1a import GenericPoct1a
from protocols.links.contract import (
    FrameReceived,
    FrameRefused,
    LinkEvent,
    MessageAbandoned,
    MessageReceived,
    SendCompleted,
    SendFailed,
)
from protocols.links.poct1a import Poct1aLink, Poct1aOptions
from protocols.links.poct1a_dialogue import TRANSITIONS, HostDialogue, Stage
from protocols.messages.poct1a import build, control_id_of, kind_of, leaf, read

pytestmark = pytest.mark.req("GW-4", "GW-9")
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def document(kind: str, control_id: int, body: str = "") -> bytes:
    return (
        f'<{kind}><HDR><HDR.control_id V="{control_id}"/><HDR.version_id V="POCT1"/>'
        f'<HDR.creation_dttm V="2006-01-01T00:00:00+08:00"/></HDR>{body}</{kind}>'
    ).encode()


def hello(control_id: int = 1, *, timeout: str = "60", continuous: bool = True) -> bytes:
    directive = '<DSC><DSC.directives_supported_cd V="START_CONTINUOUS"/></DSC>' if continuous else ""
    body = f'<DEV><DEV.model_id V="X"/><DCP><DCP.application_timeout V="{timeout}"/></DCP>{directive}</DEV>'
    return document("HEL.R01", control_id, body)


def status(control_id: int, observations: str | None = "0", events: str = "0") -> bytes:
    count = f'<DST.new_observations_qty V="{observations}"/>' if observations is not None else ""
    return document("DST.R01", control_id, f'<DST>{count}<DST.new_events_qty V="{events}"/></DST>')


def ack(control_id: int, of: object, verdict: str = "AA") -> bytes:
    body = f'<ACK><ACK.type_cd V="{verdict}"/><ACK.ack_control_id V="{of}"/></ACK>'
    return document("ACK.R01", control_id, body)


OBSERVATION = '<SVC><SVC.role_cd V="OBS"/><PT><PT.patient_id V="9"/><OBS><OBS.observation_id V="G"/></OBS></PT></SVC>'
END_OF_TOPIC = '<EOT><EOT.topic_cd V="OBS"/></EOT>'


class Box:
    """The box's side: stores at once (or when told), answers by the driver, drives the clock."""

    def __init__(self, options: Poct1aOptions | None = None, *, stores: bool = True) -> None:
        driver = GenericPoct1a()
        driver._options = options or Poct1aOptions()
        self.driver = driver
        self.link = Poct1aLink(driver._options)
        self.now = 100.0
        self.events: list[LinkEvent] = []
        self.stores = stores
        self.waiting: list[LinkEvent] = []

    def hear(self, data: bytes) -> list[str]:
        return self._serve(self.link.receive(data, self.now))

    def wait(self, seconds: float) -> list[str]:
        until = self.now + seconds
        said: list[str] = []
        while (due := self.link.wake_at) is not None and due <= until:
            self.now = max(self.now, due)
            said += self._serve(self.link.wake(self.now))
        self.now = until
        return said

    def commit(self) -> list[str]:
        """The store has what it was given."""
        self.stores = True
        waiting, self.waiting = self.waiting, []
        return self._serve(waiting)

    def _serve(self, events: list[LinkEvent]) -> list[str]:
        while events:
            event = events.pop(0)
            if not self.stores and isinstance(event, FrameReceived | MessageReceived):
                self.waiting.append(event)
                continue
            self.events.append(event)
            if isinstance(event, FrameReceived):
                events += self.link.acknowledge(event.frame_id, self.now)
            elif isinstance(event, MessageReceived):
                decoded = self.driver.decode(event.payload)
                for each in self.driver.respond(event.payload, decoded, {}, NOON):
                    self.link.send(each, self.now)
        return self.said()

    def said(self) -> list[str]:
        """What went out since the last question: type and the first code of each document."""
        self.raw = self.link.bytes_to_send()
        return [spoken(each) for each in re.findall(rb"<\?xml.*?(?=<\?xml|\Z)", self.raw, re.S)]

    def got(self, kind: type[LinkEvent]) -> list[LinkEvent]:
        return [event for event in self.events if isinstance(event, kind)]


def spoken(raw: bytes) -> str:
    message = read(raw.strip(b"\x0b\x1c\r"))
    values = {each.name: each.value for each in message.root.walk()}
    codes = (
        "ACK.ack_control_id", "ACK.control_id", "REQ.request_cd", "DTV.command_cd", "TRM.reason_cd", "EOT.topic_cd",
        "ESC.esc_control_id",
    )  # fmt: skip
    about = next((values[name] for name in codes if name in values), "")
    return f"{message.kind[:3]} {about}".strip()


def in_conversation(options: Poct1aOptions | None = None) -> Box:
    """A device in continuous mode."""
    box = Box(options)
    box.hear(hello(1))
    assert box.hear(status(2)) == ["ACK 2", "DTV START_CONTINUOUS"]
    box.hear(ack(3, control_id_of(box.raw.split(b"<?xml")[-1])))
    assert box.link.dialogue.stage is Stage.CONTINUOUS
    return box


def test_conversation_from_hello_to_continuous_mode() -> None:
    box = Box()
    assert box.hear(hello(1)) == ["ACK 1"]
    assert box.hear(status(2, "1", "3")) == ["ACK 2", "REQ ROBS"]
    assert box.hear(document("OBS.R01", 3, OBSERVATION)) == ["ACK 3"]
    assert box.hear(document("EOT.R01", 4, END_OF_TOPIC)) == ["REQ RDEV"], "a captured host does not ACK EOT"
    assert box.hear(document("EVS.R01", 5, "<EVT/>")) == ["ACK 5"]
    assert box.hear(document("EOT.R01", 6)) == ["DTV START_CONTINUOUS"]
    assert box.hear(ack(7, 7)) == []
    assert box.hear(document("OBS.R01", 8, OBSERVATION)) == ["ACK 8"]
    assert box.hear(document("END.R01", 9)) == ["ACK 9"]
    assert box.link.dialogue.stage is Stage.ENDED


def test_our_control_ids_run_and_our_times_are_the_boxs() -> None:
    box = Box()
    box.hear(hello(1))
    box.now += 3
    box.hear(status(2, "1"))
    documents = re.findall(rb"<\?xml.*?</\w+\.R01>", box.raw)
    assert [control_id_of(each) for each in documents] == ["2", "3"]
    assert read(documents[0]).header.field("HDR.creation_dttm") == "2026-11-02T12:00:00+00:00"
    box.now += 7
    box.hear(document("EOT.R01", 3))
    assert b'creation_dttm V="2026-11-02T12:00:07+00:00"' in box.raw, "an own word goes on from the last answer"


def test_nothing_is_said_before_the_document_is_durable() -> None:
    box = Box(stores=False)
    assert box.hear(hello(1)) == []
    assert box.wait(4) == []
    assert box.commit() == ["ACK 1"]
    box.stores = False
    assert box.hear(status(2, "1")) == []
    assert box.commit() == ["ACK 2", "REQ ROBS"], "and the request stands behind the ACK"


def test_document_that_could_not_be_kept_is_refused_and_the_conversation_stays() -> None:
    box = Box()
    box.hear(hello(1))
    events = box.link.receive(status(2, "1"), box.now)
    frame = next(event for event in events if isinstance(event, FrameReceived))
    assert box.link.refuse(frame.frame_id, box.now) == []
    for each in box.driver.refuse(frame.raw, "disk full", NOON):
        box.link.send(each, box.now)
    assert box.said() == ["ACK 2"]
    assert b'type_cd V="AE"' in box.raw
    assert box.link.dialogue.stage is Stage.AWAITING_STATUS
    assert box.hear(status(3, "1")) == ["ACK 3", "REQ ROBS"], "sent again, it is taken"


def test_device_without_continuous_mode_is_let_go_when_all_is_fetched() -> None:
    box = Box()
    box.hear(hello(1, continuous=False))
    assert box.hear(status(2)) == ["ACK 2", "END NRM"]
    assert box.hear(ack(3, 3)) == []
    assert box.link.dialogue.stage is Stage.ENDED


def test_site_may_forbid_continuous_mode() -> None:
    box = Box(Poct1aOptions(continuous=False))
    box.hear(hello(1))
    assert box.hear(status(2)) == ["ACK 2", "END NRM"]


def test_status_that_counts_nothing_is_taken_for_one_that_may_have_something() -> None:
    box = Box()
    box.hear(hello(1))
    assert box.hear(status(2, None)) == ["ACK 2", "REQ ROBS"]


@pytest.mark.parametrize("refusal", ["AE", "ESC"])
def test_request_that_the_device_refuses_is_not_repeated_at_once(refusal: str) -> None:
    box = Box()
    box.hear(hello(1))
    box.hear(status(2, "1", "1"))
    no = (
        ack(3, 3, "AE")
        if refusal == "AE"
        else document("ESC.R01", 3, '<ESC><ESC.esc_control_id V="3"/><ESC.detail_cd V="CNC"/></ESC>')
    )
    assert box.hear(no) == ["REQ RDEV"]
    failed = box.got(SendFailed)
    assert [event.reason for event in failed if isinstance(event, SendFailed)] == [
        "AE" if refusal == "AE" else "ESC CNC"
    ]


def test_request_that_is_acknowledged_first_still_waits_for_its_topic() -> None:
    box = Box()
    box.hear(hello(1))
    box.hear(status(2, "1"))
    assert box.hear(ack(3, 3)) == []
    assert box.link.dialogue.stage is Stage.OBSERVATIONS_REQUESTED
    assert box.hear(document("EOT.R01", 4)) == ["DTV START_CONTINUOUS"]


def test_silence_ends_a_request_after_the_devices_own_timeout() -> None:
    box = Box()
    box.hear(hello(1, timeout="20"))
    box.hear(status(2, "1"))
    assert box.wait(19) == []
    box.hear(b"<OBS.R01>")
    assert box.wait(19) == [], "a byte of the device begins the time anew"
    assert box.wait(2) == ["DTV START_CONTINUOUS"]
    assert "timeout" in next(event.reason for event in box.events if isinstance(event, SendFailed))


@pytest.mark.parametrize(("sent", "meant"), [("", 60), ("nan", 60), ("0", 5), ("-1", 5), ("1e9", 600), ("90.5", 90.5)])
def test_application_timeout_is_kept_within_what_can_be_meant(sent: str, meant: float) -> None:
    box = Box()
    box.hear(hello(1, timeout=sent))
    assert box.link.dialogue.timeout_s == meant


def test_keep_alive_is_acknowledged_and_never_kept() -> None:
    box = in_conversation()
    kept = len(box.got(FrameReceived))
    assert box.hear(document("KPA.R01", 44)) == ["ACK 44"]
    assert len(box.got(FrameReceived)) == kept


def test_host_keeps_the_line_alive_where_its_device_wants_it() -> None:
    box = in_conversation(Poct1aOptions(keep_alive_s=30))
    assert box.wait(29) == []
    assert box.wait(2) == ["KPA"]
    assert box.wait(30) == ["KPA"]
    assert in_conversation().wait(500) == [], "the device does, unless told otherwise"


def test_framing_of_the_device_is_answered_in_kind() -> None:
    box = Box()
    assert box.hear(b"\x0b" + hello(1) + b"\x1c\r") == ["ACK 1"]
    assert box.raw.startswith(b"\x0b<?xml")
    assert box.raw.endswith(b"</ACK.R01>\x1c\r")
    box.link.disconnected(box.now)
    box.hear(hello(1))
    assert box.raw.startswith(b"<?xml"), "the next device may do without"


def test_end_of_topic_is_acknowledged_where_the_device_waits_for_it() -> None:
    box = Box(Poct1aOptions(acknowledge_end_of_topic=True, acknowledged_id="ACK.control_id"))
    box.hear(hello(1))
    box.hear(status(2, "1"))
    assert box.hear(document("EOT.R01", 3)) == ["ACK 3", "DTV START_CONTINUOUS"]


def test_acknowledgements_of_the_device_are_never_acknowledged() -> None:
    box = in_conversation()
    assert box.hear(ack(9, 1)) == []
    assert box.hear(document("ESC.R01", 10, "<ESC/>")) == []


def test_device_that_asks_for_what_we_have_not_is_told_so() -> None:
    box = in_conversation()
    assert box.hear(document("REQ.R01", 11, '<REQ><REQ.request_cd V="RPAT"/></REQ>')) == ["ESC 11"]


def test_document_cut_by_a_closed_connection_is_kept_and_not_applied() -> None:
    box = Box()
    box.hear(hello(1))
    half = document("OBS.R01", 2, OBSERVATION)[:-30]
    box.hear(half)
    events = box.link.disconnected(box.now)
    assert [type(event) for event in events] == [FrameReceived, MessageAbandoned]
    assert isinstance(events[0], FrameReceived)
    assert events[0].raw == half
    assert box.hear(hello(3)) == ["ACK 3"], "the device begins again"


def test_document_that_stops_is_broken_off_after_a_while() -> None:
    box = Box()
    box.hear(hello(1))
    box.hear(b"<OBS.R01><SVC>")
    box.wait(31)
    abandoned = box.got(MessageAbandoned)
    assert len(abandoned) == 1
    assert box.link.wake_at is None or box.link.wake_at > box.now


def test_stale_acknowledgement_of_a_closed_connection_moves_nothing() -> None:
    box = Box()
    events = box.link.receive(hello(1), box.now)
    frame = next(event for event in events if isinstance(event, FrameReceived))
    box.link.disconnected(box.now)
    assert box.link.acknowledge(frame.frame_id, box.now) == []
    assert box.link.dialogue.stage is Stage.AWAITING_HELLO
    with pytest.raises(LocalProtocolError):
        box.link.acknowledge(frame.frame_id, box.now)


def test_document_over_the_limit_is_refused_by_name() -> None:
    box = Box(Poct1aOptions(message_limit=400))
    box.hear(hello(1))
    assert box.hear(document("OBS.R01", 5, "<x/>" * 200)) == ["ACK 5"]
    assert b'type_cd V="AE"' in box.raw
    assert [event.reason for event in box.events if isinstance(event, FrameRefused)] == [
        "document longer than the limit"
    ]
    assert box.hear(document("OBS.R01", 6, OBSERVATION)) == ["ACK 6"]


def test_unreadable_document_is_kept_and_its_device_does_not_repeat_it_for_ever() -> None:
    box = Box()
    box.hear(hello(1))
    assert box.hear(document("OBS.R01", 5, "<a></b>")) == ["ACK 5"]
    assert b'type_cd V="AA"' in box.raw


def test_billion_laughs_are_kept_unread_and_answered_no() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>' + document(
        "OBS.R01", 5, "<x>&b;</x>"
    )
    box = Box()
    box.hear(hello(1))
    assert box.hear(bomb) == ["ACK 5"]
    assert b'type_cd V="AE"' in box.raw
    assert [event.payload for event in box.events if isinstance(event, MessageReceived)][-1] == bomb


def test_list_of_ours_waits_for_its_turn_and_for_the_devices_word() -> None:
    box = Box()
    box.hear(hello(1))
    token = box.link.send(build("OPL.R01", "2026-11-02T12:00:00+00:00", leaf("OPR", "1")), box.now)
    assert box.said() == [], "not before the device has told what it holds"
    assert box.hear(status(2, "1")) == ["ACK 2", "REQ ROBS"]
    assert box.hear(document("EOT.R01", 3)) == ["OPL"]
    sent_as = control_id_of(box.raw)
    assert box.hear(ack(4, 999)) == [], "the ACK of something else"
    assert box.hear(ack(5, sent_as)) == ["DTV START_CONTINUOUS"]
    assert SendCompleted(token) in box.events


def test_list_of_ours_in_continuous_mode_fails_with_the_connection() -> None:
    box = in_conversation()
    first = box.link.send(build("OPL.R01", "2026-11-02T12:00:00+00:00"), box.now)
    second = box.link.send(build("OPL.R01", "2026-11-02T12:00:00+00:00"), box.now)
    assert box.said() == ["OPL"], "one at a time"
    failed = [event for event in box.link.disconnected(box.now) if isinstance(event, SendFailed)]
    assert [event.token for event in failed] == [first, second]


def test_new_hello_on_the_same_line_begins_a_new_conversation() -> None:
    box = in_conversation()
    assert box.hear(hello(20)) == ["ACK 20"]
    assert box.hear(status(21, "1")) == ["ACK 21", "REQ ROBS"]


def test_device_that_sends_before_its_hello_is_acknowledged_all_the_same() -> None:
    box = Box()
    assert box.hear(document("OBS.R01", 5, OBSERVATION)) == ["ACK 5"]
    assert box.link.dialogue.stage is Stage.AWAITING_HELLO


def test_several_documents_in_one_segment_are_answered_in_their_order() -> None:
    box = Box()
    assert box.hear(hello(1) + status(2, "2")) == ["ACK 1", "ACK 2", "REQ ROBS"]
    both = document("OBS.R01", 3, OBSERVATION) + document("OBS.R02", 4, OBSERVATION)
    assert box.hear(both + document("EOT.R01", 5)) == ["ACK 3", "ACK 4", "DTV START_CONTINUOUS"]


def test_only_documents_built_here_are_sent() -> None:
    with pytest.raises(LocalProtocolError):
        Poct1aLink().send(b"H|", 0)


def test_stages_lead_only_where_the_table_says() -> None:
    assert set(TRANSITIONS) == set(Stage)
    for start, allowed in TRANSITIONS.items():
        for end in Stage:
            dialogue = HostDialogue()
            dialogue.stage = start
            if end in allowed:
                dialogue.move_to(end)
                assert dialogue.stage is end
            else:
                with pytest.raises(LocalProtocolError):
                    dialogue.move_to(end)


def test_kind_is_seen_without_reading() -> None:
    assert kind_of(b'<?xml version="1.0"?><!-- <HEL.R01> --><OBS.R02 a="1">') == "OBS.R02"
    assert kind_of(b"nothing") == ""
