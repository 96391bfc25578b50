"""Orders of IHE LAW and of Mindray's dialogue: sent, taken back, and what an HL7 message tells besides results."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from protocols.driver import Driver, discover
from protocols.messages.hl7 import Hl7Message, Segment, read_messages
from protocols.model import HostQuery, InstrumentEvent, Observation, Order

NOW = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)
TUBE = "202611020303"
LAW = ["abbott_alinity", "biosystems_ba", "ihe_law", "roche_cobas_pro", "roche_cobas_x800", "siemens_atellica"]
pytestmark = pytest.mark.req("GW-4", "GW-7")


def driver(name: str) -> Driver:
    return discover()[name]


def one(payloads: Sequence[bytes]) -> Hl7Message:
    assert len(payloads) == 1
    return read_messages(payloads[0])[0]


def fields(message: Hl7Message, name: str) -> list[Segment]:
    return [segment for segment in message.segments if segment.name == name]


@pytest.mark.parametrize("name", LAW)
def test_orders_are_put_on_a_law_analyzer_without_its_asking(name: str) -> None:
    orders = [Order(specimen=TUBE, codes=("GLU", "K"), priority="S"), Order(specimen="202611020304", codes=("NA",))]
    sent = driver(name).download(orders, NOW)
    assert len(sent) == 2, "one message for each specimen"
    first = read_messages(sent[0])[0]
    assert first.kind == "OML^O33"
    assert [each.text(1) for each in fields(first, "ORC")] == ["NW", "NW"]
    assert [each.component(4, 1) for each in fields(first, "OBR")] == ["GLU", "K"]
    assert {each.component(9, 1) for each in fields(first, "TQ1")} == {"S"}
    assert fields(first, "SAC")[0].component(3, 1) == TUBE


def test_messages_of_one_second_have_numbers_of_their_own() -> None:
    orders = [Order(specimen=f"20261102{number:04}", codes=("GLU",)) for number in range(200)]
    sent = driver("ihe_law").download(orders, NOW)
    assert len({read_messages(each)[0].control_id for each in sent}) == 200


@pytest.mark.parametrize("name", LAW)
def test_work_is_taken_back_by_the_number_it_was_sent_with(name: str) -> None:
    order = Order(specimen=TUBE, codes=("GLU", "K"), cancelled=True, numbers=("A1", "A2"))
    message = one(driver(name).download([order], NOW))
    assert [each.text(1) for each in fields(message, "ORC")] == ["CA", "CA"]
    assert [each.text(2) for each in fields(message, "OBR")] == ["A1", "A2"]


def test_work_whose_number_nobody_knows_is_not_taken_back() -> None:
    """An analyzer cancels only what it can identify."""
    assert driver("ihe_law").download([Order(specimen=TUBE, codes=("GLU",), cancelled=True)], NOW) == []


def test_acceptance_tells_the_number_by_which_work_is_taken_back() -> None:
    sent = one(driver("ihe_law").download([Order(specimen=TUBE, codes=("GLU",))], NOW))
    number = fields(sent, "OBR")[0].text(2)
    accepted = (
        "MSH|^~\\&|AN1||LIS||20261102083001||ORL^O34^ORL_O42|5|P|2.5.1||||||UNICODE UTF-8|||LAB-28^IHE\r"
        f"MSA|AA|{sent.control_id}\rSAC|||{TUBE}\rORC|OK|{number}|||SC\r"
    )
    event = driver("ihe_law").decode(accepted.encode()).items[0]
    assert isinstance(event, InstrumentEvent)
    assert (event.name, event.specimen, event.detail) == ("order accepted", TUBE, f"{number} SC")


@pytest.mark.parametrize(
    ("code", "name"),
    [("OK", "order accepted"), ("UA", "order refused"), ("CR", "order cancelled"), ("UC", "cancellation refused")],
)
def test_each_answer_to_an_order_has_its_word(code: str, name: str) -> None:
    answer = f"MSH|^~\\&|AN1||LIS||1||ORL^O34^ORL_O42|5|P|2.5.1\rMSA|AA|1\rORC|{code}|N7\r".encode()
    law = driver("ihe_law")
    items = law.decode(answer).items
    assert [each.name for each in items if isinstance(each, InstrumentEvent)] == [name]
    assert law.respond(answer, law.decode(answer), {}, NOW) == [], "an answer is not answered"


def test_every_tube_asked_for_in_turn_gets_work_with_a_new_number() -> None:
    """A tube that is loaded again must be served: the analyzer refuses a number it has seen."""
    law = driver("ihe_law")
    asked = b"MSH|^~\\&|AN1||LIS||1||QBP^Q11^QBP_Q11|7|P|2.5.1\rQPD|WOS^x^IHELAW|T|202611020303\rRCP|I\r"
    orders = {TUBE: [Order(specimen=TUBE, codes=("GLU",))]}
    later = NOW.replace(minute=31)
    first, again = (law.respond(asked, law.decode(asked), orders, when) for when in (NOW, later))
    numbers = [fields(read_messages(each[1])[0], "OBR")[0].text(2) for each in (first, again)]
    assert len(set(numbers)) == 2


def test_cancelled_order_is_no_work() -> None:
    law = driver("ihe_law")
    asked = b"MSH|^~\\&|AN1||LIS||1||QBP^Q11^QBP_Q11|7|P|2.5.1\rQPD|WOS^x^IHELAW|T|202611020303\rRCP|I\r"
    orders = {TUBE: [Order(specimen=TUBE, codes=("GLU",), cancelled=True, numbers=("A1",))]}
    reply = law.respond(asked, law.decode(asked), orders, NOW)
    assert [each.text(1) for each in fields(read_messages(reply[1])[0], "ORC")] == ["DC"]


def test_query_of_an_isolate_is_answered_for_its_container() -> None:
    asked = b"MSH|^~\\&|AN1||LIS||1||QBP^Q11^QBP_Q11|7|P|2.5.1\rQPD|WOS_BY_ISOLATE^x^IHELAW|T|TUBE1&LAB\r"
    query = driver("ihe_law").decode(asked).items[0]
    assert isinstance(query, HostQuery)
    assert query.specimens == ("TUBE1",)


def test_names_leave_for_an_analyzer_only_with_the_order() -> None:
    law = driver("ihe_law")
    assert b"PID|" not in law.download([Order(specimen=TUBE, codes=("GLU",))], NOW)[0]
    named = Order(
        specimen=TUBE, codes=("GLU",), patient_id="P|1", patient_name="王^芳", birth_date="1990-08-04", sex="F"
    )
    patient = fields(one(law.download([named], NOW)), "PID")[0]
    assert [patient.text(3), *patient.components(5), patient.text(7), patient.text(8)] == [
        "P|1",
        "王",
        "芳",
        "19900804",
        "F",
    ]


# ---------------------------------------------------------------------- Mindray's dialogue


def test_orders_are_put_on_a_cl_by_display_lines_that_say_so() -> None:
    """Mindray's manual: MSH-15 is P where the host sends without being asked."""
    sent = driver("mindray_cl").download(
        [Order(specimen=TUBE, codes=("2", "5"), priority="S", specimen_type="SER")], NOW
    )
    message = one(sent)
    lines = {int(each.text(1)): each.raw(3) for each in fields(message, "DSP")}
    assert (message.kind, message.header.text(15)) == ("DSR^Q03", "P")
    assert (lines[21], lines[24], lines[26], lines[29], lines[30]) == (TUBE, "Y", "serum", "2^^^", "5^^^")


@pytest.mark.parametrize("name", ["mindray_bs", "urit_8030", "cepheid_genexpert_hl7", "mindray_bc", "generic_hl7"])
def test_nothing_is_put_on_an_analyzer_whose_document_does_not_show_it(name: str) -> None:
    assert list(driver(name).download([Order(specimen=TUBE, codes=("2",))], NOW)) == []


# ---------------------------------------------------------------------- batches and other messages


def test_every_message_of_a_batch_is_read_and_answered() -> None:
    one_result = "MSH|^~\\&|AN1||LIS||1||OUL^R22^OUL_R22|{0}|P|2.5.1\rSPM|1|T{0}\rOBR|1\rOBX|1|NM|K||4.1|mmol/L\r"
    batch = f"FHS|^~\\&|AN1\rBHS|^~\\&|AN1\r{one_result.format(1)}{one_result.format(2)}BTS|2\rFTS|1\r".encode()
    law = driver("ihe_law")
    decoded = law.decode(batch)
    assert [each.specimen for each in decoded.items if isinstance(each, Observation)] == ["T1", "T2"]
    answers = [read_messages(each)[0].first("MSA") for each in law.respond(batch, decoded, {}, NOW)]
    assert [each.text(2) for each in answers if each is not None] == ["1", "2"]


def test_result_outside_of_law_keeps_its_tube() -> None:
    text = "MSH|^~\\&|AN1|Y|||1||ORU^R01|9|P|2.5.1\rOBR|1||T1|GLU\rOBX|1|NM|GLU||5.5|mmol/L|||||F\r"
    (found,) = driver("ihe_law").decode(text.encode()).items
    assert isinstance(found, Observation)
    assert (found.specimen, found.value) == ("T1", "5.5")


@pytest.mark.parametrize("kind", ["OUL^R21", "OUL^R23", "ORU^R30^ORU_R30", "ORU^R32^ORU_R30", "ORU^R01"])
def test_each_kind_of_result_message_is_read_by_the_generic_driver(kind: str) -> None:
    text = f"MSH|^~\\&|X|Y|||1||{kind}|9|P|2.5\rPID|1\rORC|RE\rOBR|1||T1|GLU\rOBX|1|NM|GLU||5.5|mmol/L|||||F\r"
    found = driver("generic_hl7").decode(text.encode()).items
    assert [(each.specimen, each.code, each.value) for each in found if isinstance(each, Observation)] == [
        ("T1", "GLU", "5.5")
    ]


def test_supplement_of_a_result_is_never_taken_for_a_test_of_that_name() -> None:
    """cobas pro sends the pipetting time under the code PT."""
    result = "OBX|1|NM|20490^CRP^99ROC||32.2|mg/L|||||F||||||||||||||||||RSLT"
    supplement = "OBX|2|DTM|PT^Pipetting_Time^99ROC^S_OTHER^x^IHELAW||20261102||||||F||||||||||||||||||RSLT"
    header = "MSH|^~\\&|{0}||LIS||1||OUL^R22^OUL_R22|1|P|2.5.1||||||UNICODE UTF-8|||LAB-29^IHE"
    body = ["SPM|1|T1", "OBR|1||x|20490", result, supplement, ""]
    for name, sender in (("roche_cobas_pro", "cobas pro"), ("ihe_law", "AN1")):
        text = "\r".join([header.format(sender), *body])
        codes = [each.code for each in driver(name).decode(text.encode()).items if isinstance(each, Observation)]
        assert "PT" not in codes
        assert codes[0] == "20490"
