"""Snibe's simplified envelope: five steps, each with an ACK of its own, and no check but the records themselves."""

from __future__ import annotations

import random

import pytest

from protocols.errors import LocalProtocolError
from protocols.links.astm_envelope import TRANSITIONS, AstmEnvelopeLink, EnvelopeOptions, State
from protocols.links.contract import FrameReceived, FrameRefused, LinkEvent, MessageReceived, SendCompleted, SendFailed

pytestmark = pytest.mark.req("GW-2")

ENQ, STX, ETX, EOT, ACK, NAK = b"\x05", b"\x02", b"\x03", b"\x04", b"\x06", b"\x15"
RESULT = b"H|\\^&||PSWD|Maglumi X3|||||Lis||P|E1394-97|20261102\rP|1\rO|1|S1||^^^TSH\rR|1|^^^TSH|4.3|uIU/mL\rL|1|N\r"
ORDER = b"H|\\^&\rP|1\rO|1|S1||^^^TSH|R\rL|1|N\r"


class Bench:
    """The link with a box that stores at once."""

    def __init__(self, *, stores: bool = True) -> None:
        self.link = AstmEnvelopeLink()
        self.stores = stores
        self.events: list[LinkEvent] = []
        self.now = 0.0

    def hear(self, data: bytes) -> bytes:
        self._take(self.link.receive(data, self.now))
        return self.link.bytes_to_send()

    def wait(self, seconds: float) -> bytes:
        self.now += seconds
        self._take(self.link.wake(self.now))
        return self.link.bytes_to_send()

    def _take(self, events: list[LinkEvent]) -> None:
        waiting = list(events)
        while waiting:
            event = waiting.pop(0)
            self.events.append(event)
            if isinstance(event, FrameReceived):
                settle = self.link.acknowledge if self.stores else self.link.refuse
                waiting += settle(event.frame_id, self.now)

    def payloads(self) -> list[bytes]:
        return [event.payload for event in self.events if isinstance(event, MessageReceived)]

    def refused(self) -> list[str]:
        return [event.reason for event in self.events if isinstance(event, FrameRefused)]


def test_each_of_the_five_steps_draws_its_own_ack() -> None:
    bench = Bench()
    assert [bench.hear(step) for step in (ENQ, STX, RESULT, ETX, EOT)] == [ACK] * 5
    assert bench.payloads() == [RESULT]
    assert bench.link.state is State.NEUTRAL


def test_instrument_that_does_not_wait_gets_the_same_five_acks() -> None:
    bench = Bench()
    assert bench.hear(ENQ + STX + RESULT + ETX + EOT) == ACK * 5
    assert bench.payloads() == [RESULT]


def test_records_are_not_acknowledged_before_they_are_durable() -> None:
    link = AstmEnvelopeLink()
    events = link.receive(ENQ + STX + RESULT + ETX + EOT, 0.0)
    assert link.bytes_to_send() == ACK * 2
    (frame,) = (event for event in events if isinstance(event, FrameReceived))
    link.acknowledge(frame.frame_id, 0.0)
    assert link.bytes_to_send() == ACK * 3


def test_what_the_box_could_not_keep_is_refused_and_taken_when_it_comes_again() -> None:
    bench = Bench(stores=False)
    assert bench.hear(ENQ + STX + RESULT) == ACK * 2 + NAK
    bench.stores = True
    assert bench.hear(STX + RESULT) == ACK * 2
    assert bench.hear(ETX + EOT) == ACK * 2


def test_records_repeated_after_a_lost_ack_are_stored_once() -> None:
    bench = Bench()
    bench.hear(ENQ + STX + RESULT)
    assert bench.hear(STX + RESULT) == ACK * 2
    assert bench.hear(ETX + ETX + EOT + EOT) == ACK * 4
    assert bench.payloads() == [RESULT]


def test_same_result_sent_later_by_the_operator_is_a_message_of_its_own() -> None:
    bench = Bench()
    bench.hear((ENQ + STX + RESULT + ETX + EOT) * 2)
    assert bench.payloads() == [RESULT, RESULT]


def test_last_record_without_its_end_is_closed_by_etx() -> None:
    bench = Bench()
    assert bench.hear(ENQ + STX + RESULT[:-1] + ETX) == ACK * 4
    assert bench.payloads() == [RESULT]


@pytest.mark.parametrize("breaking", [ETX, EOT, ENQ, STX, ACK])
def test_rest_of_a_message_that_was_broken_off_is_never_acknowledged(breaking: bytes) -> None:
    bench = Bench()
    half = len(RESULT) // 2
    bench.hear(ENQ + STX)
    written = bench.hear(RESULT[:half] + breaking + RESULT[half:])
    assert written.count(ACK) <= 1  # that of the control byte itself
    assert bench.payloads() == []
    assert bench.refused()


def test_etx_without_a_message_before_it_promises_nothing() -> None:
    assert Bench().hear(ENQ + STX + ETX) == ACK * 2 + NAK


def test_half_a_session_ends_with_silence_and_the_next_one_is_heard() -> None:
    bench = Bench()
    bench.hear(ENQ + STX + RESULT[:20])
    bench.wait(31)
    assert bench.refused() == ["the session did not go on in time"]
    assert bench.hear(ENQ + STX + RESULT + ETX + EOT) == ACK * 5


def test_hours_of_silence_between_sessions_mean_nothing() -> None:
    bench = Bench()
    bench.hear(ENQ + STX + RESULT + ETX + EOT)
    assert bench.link.wake_at is None


def test_message_without_an_end_cannot_fill_the_memory() -> None:
    bench = Bench()
    bench.link.options = EnvelopeOptions(message_limit=1000)
    bench.hear(ENQ + STX)
    for _ in range(40):
        bench.hear(b"R|1|^^^TSH|4.3\r" * 5)
    assert "message longer than the limit" in bench.refused()
    assert len(bench.link._buffer) <= 1100


def test_order_is_sent_step_by_step_when_the_instrument_is_done() -> None:
    bench = Bench()
    bench.hear(ENQ + STX + b"H|\\^&\rQ|1|^S1||ALL\rL|1|N\r")
    token = bench.link.send(ORDER, bench.now)
    assert bench.link.bytes_to_send() == b""
    assert bench.hear(ETX) == ACK
    assert bench.hear(EOT) == ACK + ENQ
    assert [bench.hear(ACK) for _ in range(5)] == [STX, ORDER, ETX, EOT, b""]
    assert SendCompleted(token) in bench.events
    assert bench.link.state is State.NEUTRAL


def test_refused_step_is_said_again_and_given_up_after_three_times() -> None:
    bench = Bench()
    token = bench.link.send(ORDER, 0.0)
    assert bench.link.bytes_to_send() == ENQ
    bench.hear(ACK)
    assert bench.hear(NAK) == STX
    assert bench.hear(ACK) == ORDER
    assert [bench.hear(NAK), bench.hear(NAK), bench.hear(NAK)] == [ORDER, ORDER, EOT]
    assert SendFailed(token, "refused by the instrument") in bench.events


def test_instrument_that_does_not_answer_is_asked_three_times() -> None:
    bench = Bench()
    token = bench.link.send(ORDER, 0.0)
    bench.link.bytes_to_send()
    assert [bench.wait(11), bench.wait(11), bench.wait(11)] == [ENQ, ENQ, EOT]
    assert SendFailed(token, "no answer") in bench.events


def test_instrument_that_speaks_at_the_same_time_is_heard_first() -> None:
    bench = Bench()
    token = bench.link.send(ORDER, 0.0)
    bench.link.bytes_to_send()
    assert bench.hear(ENQ + STX + RESULT + ETX + EOT) == ACK * 5 + ENQ
    assert bench.payloads() == [RESULT]
    for _ in range(5):
        bench.hear(ACK)
    assert SendCompleted(token) in bench.events


def test_order_accepted_with_etx_is_not_sent_twice_when_the_last_ack_stays_away() -> None:
    bench = Bench()
    bench.link.send(ORDER, 0.0)
    for _ in range(4):
        bench.hear(ACK)
    bench.wait(11)
    assert bench.wait(11) == b""
    assert sum(isinstance(event, SendCompleted) for event in bench.events) == 1


def test_closed_connection_fails_what_waits_and_the_link_goes_on() -> None:
    bench = Bench()
    token = bench.link.send(ORDER, 0.0)
    bench.events += bench.link.disconnected(1.0)
    assert SendFailed(token, "the connection closed") in bench.events
    assert bench.hear(ENQ + STX + RESULT + ETX + EOT) == ACK * 5


def test_message_stored_after_the_connection_closed_raises_nothing() -> None:
    link = AstmEnvelopeLink()
    (frame, _) = link.receive(ENQ + STX + RESULT, 0.0)
    assert isinstance(frame, FrameReceived)
    link.disconnected(0.1)
    assert link.acknowledge(frame.frame_id, 0.2) == []


@pytest.mark.parametrize("payload", [b"", b"H|\\^&\rL|1\r\x03", b"H|\x05\r"])
def test_our_own_message_with_control_bytes_is_refused_before_the_line(payload: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        AstmEnvelopeLink().send(payload, 0.0)


def test_every_state_has_its_moves() -> None:
    assert set(TRANSITIONS) == set(State)


def test_any_bytes_in_any_pieces_raise_nothing_and_give_the_same() -> None:
    dice = random.Random(2026)
    pieces = [ENQ, STX, ETX, EOT, ACK, NAK, RESULT, RESULT[:30], b"\r", b"L|1|N\r", b"\xff", b"H|"]
    for _ in range(400):
        data = b"".join(dice.choice(pieces) for _ in range(dice.randrange(12)))
        whole, cut = Bench(), Bench()
        written = whole.hear(data)
        pieced = b"".join(cut.hear(data[n : n + 1]) for n in range(len(data)))
        assert whole.payloads() == cut.payloads(), data
        assert written == pieced, data
