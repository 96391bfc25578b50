"""What single ASTM instruments do otherwise than the standard, beyond what their transcripts show."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from protocols.driver import Driver, discover, identify
from protocols.model import Decoded, HostQuery, InstrumentEvent, Item, Observation, Order

DRIVERS = discover()
NOW = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)
COBAS = ("roche_c311", "roche_cobas6000", "roche_e411")
HEADERS = {
    "roche_c311": "H|\\^&|||c311^1|||||host|{}|P|1",
    "roche_cobas6000": "H|\\^&|||cobas6000^1|||||host|{}|P|1",
    "roche_e411": "H|\\^&|||cobas-e411^1|||||host|{}|P|1",
    "roche_c111": "H|\\^&|||C111^Roche^c111^4.2^1^13147|||||host|{}|P|1|20261102081407",
    "cepheid_genexpert": "H|@^\\|URM-1||LAB 2^GeneXpert^4.8|||||HOST-1||P|1394-97|20261102081407",
    "sysmex_ca": "H|\\^&|||CS-2500^00-12||||||||E1394-97",
    "siemens_dca_astm": "H|\\^&|||DCA VANTAGE^04.04^S1|||||||P||20261102081407",
    "horiba_yumizen": "H|\\^&|||H550^909YAXH01234^1.2.1.4|||||||P|LIS2-A2|20261102081407",
    "horiba_pentra": "H|\\^&|||ABX|||||||P|E1394-97|20261102081407",
}
pytestmark = pytest.mark.req("GW-11")


def driver(name: str) -> Driver:
    return DRIVERS[name]


def message(name: str, *records: str, kind: str = "RSUPL^REAL") -> bytes:
    return "\r".join([HEADERS[name].format(kind), *records, "L|1|N", ""]).encode()


def read(name: str, *records: str, kind: str = "RSUPL^REAL") -> Decoded:
    return driver(name).decode(message(name, *records, kind=kind))


def one(items: tuple[Item, ...]) -> Observation:
    [found] = [item for item in items if isinstance(item, Observation)]
    return found


# ---------------------------------------------------------------- Roche


@pytest.mark.parametrize("name", [*COBAS, "cepheid_genexpert"])
def test_only_a_query_is_read_before_its_acknowledgement(name: str) -> None:
    assert driver(name).must_answer(message(name, "Q|1|^^2026^1^0^5^^S1^SC||ALL||||||||O"))
    assert not driver(name).must_answer(message(name, "P|1", "O|1|2026", "R|1|^^^10/|5.1|mmol/l||N||F"))


@pytest.mark.req("GW-10")
@pytest.mark.parametrize("name", COBAS)
def test_a_cobas_query_that_was_taken_back_is_shown_and_not_answered(name: str) -> None:
    payload = message(name, "Q|1|^^202611020017^1^0^5^^S1^SC||ALL||||||||A", kind="TSREQ^REAL")
    found = driver(name).decode(payload)
    assert [type(item) for item in found.items] == [HostQuery, InstrumentEvent]
    orders = {"202611020017": [Order("202611020017", ("10",))]}
    assert driver(name).respond(payload, found, orders, NOW) == []


@pytest.mark.req("GW-10")
@pytest.mark.parametrize(
    ("name", "receiver"),
    [("roche_c311", "cobas c 311"), ("roche_cobas6000", "cobas 6000"), ("roche_e411", "cobas-e411")],
)
def test_a_cobas_takes_orders_that_it_did_not_ask_for(name: str, receiver: str) -> None:
    orders = [
        Order("202611020017", ("10", "685/5"), "S"),
        Order("202611020018", ("10",), cancelled=True),
        Order("202611020019", ("30",), patient_name="Mustermann^Max", birth_date="1980-02-03", sex="M"),
    ]
    first, second = driver(name).download(orders, NOW)
    assert (
        first
        == (
            f"H|\\^&|||host^1|||||{receiver}|TSDWN^BATCH|P|1\rP|1\r"
            "O|1|202611020017|0^^^^S1^SC|^^^10^\\^^^685^5|S||||||A||||1||||||||||O\rL|1|N\r"
        ).encode()
    )
    assert b"O|1|202611020019|" in second
    assert b"Mustermann" not in second
    assert driver("roche_c111").download(orders, NOW) == ()


def test_what_stands_behind_a_quantitative_value_is_a_result_message_not_an_index() -> None:
    found = one(read("roche_e411", "P|1", "O|1|1|1^0^1^^S1^SC", "R|1|^^^8/1/not|1^51|uIU/ml||N||F").items)
    assert (found.value, found.comments) == ("1", ("result message 51",))
    found = one(read("roche_e411", "P|1", "O|1|1|1^0^1^^S1^SC", "R|1|^^^8/1/not|9.61^|uIU/ml||N||F").items)
    assert (found.value, found.comments) == ("9.61", ())


@pytest.mark.parametrize(
    ("sent", "value", "call"),
    [
        ("-1^0.325", "0.325", "negative (non-reactive) (-1)"),
        ("0^0.98", "0.98", "borderline (0)"),
        ("1^>4000", ">4000", "positive (reactive) (1)"),
        ("1^", "1", "positive (reactive) (1)"),
    ],
)
def test_a_qualitative_result_is_its_index_and_its_call_a_comment(sent: str, value: str, call: str) -> None:
    found = one(read("roche_e411", "P|1", "O|1|1|1^0^1^^S1^SC", f"R|1|^^^4/1/not|{sent}|COI||N||F").items)
    assert found.value == value
    assert found.comments == (call,)
    assert found.flags == ("N",), "a call is no flag: it would hold every result back"


def test_a_comment_in_words_stays_and_a_data_alarm_of_zero_is_none() -> None:
    rows = ("P|1", "O|1|1|1^0^1^^S1^SC", "R|1|^^^8/1/not|9.61|uIU/ml||N||F")
    found = one(read("roche_e411", *rows, "C|1|I|0|I", "C|2|I|27|I", "C|3|I|tube 2|I").items)
    assert found.comments == ("data alarm 27", "tube 2")


def test_calibrations_and_absorbances_keep_the_name_of_their_upload() -> None:
    [event] = read("roche_c311", "M|1|PC^RE^1|8712|1^2", kind="PCUPL^REAL").items
    assert isinstance(event, InstrumentEvent)
    assert (event.name, event.detail) == ("photometric calibration", "M|1|PC^RE^1|8712|1^2")


@pytest.mark.parametrize(
    ("named", "owner"),
    [
        ("c311^1", "roche_c311"),
        ("cobas c 311^1", "roche_c311"),
        ("cobas-e411^1", "roche_e411"),
        ("cobas e411^1", "roche_e411"),
        ("cobas6000^1", "roche_cobas6000"),
        ("cobas 8000^1.02", "roche_cobas6000"),
        ("H7600^1", "roche_cobas6000"),
        ("XP-300^00-14", "sysmex_xp"),
        ("XN-1000^00-24", "sysmex_xn"),
        ("XN-550^00-24", "sysmex_xn"),
        ("XS^00-16", "sysmex_xt"),
        ("XT-4000i^00-22", "sysmex_xt"),
        ("CS-5100^00-12", "sysmex_ca"),
        ("CA-620^00-05", "sysmex_ca"),
    ],
)
def test_an_instrument_is_known_by_the_name_it_gives_itself(named: str, owner: str) -> None:
    found, match = identify(f"H|\\^&|||{named}|||||host|RSUPL^REAL|P|1\rL|1|N\r".encode())
    assert found is not None
    assert (found.id, match.score) == (owner, 1.0)


# ---------------------------------------------------------------- Sysmex


def test_a_lot_belongs_to_all_parameters_of_its_assay_and_to_no_other() -> None:
    found = read(
        "sysmex_ca", "P|1", "O|1||000012^02^   2026^B^||R",
        "R|1|^^^041^PT~sec^100.00^A^^^|10.6|sec||N", "C|1|I|LOT^040^PT^571|I",
        "R|2|^^^051^APTT~sec^100.00^A^^^|31|sec||N", "R|3|^^^043^PT~INR^100.00^A^^^|0.9|||N",
    )  # fmt: skip
    lots = {item.code: item.reagent_lot for item in found.items if isinstance(item, Observation)}
    assert lots == {"041": "571", "051": None, "043": "571"}


# ---------------------------------------------------------------- Cepheid


@pytest.mark.req("GW-10")
def test_a_genexpert_query_that_was_taken_back_is_shown_and_not_answered() -> None:
    payload = message("cepheid_genexpert", "Q|1|||||||||||A", "C|1|I|Query timed out|I")
    found = driver("cepheid_genexpert").decode(payload)
    query = found.items[0]
    assert isinstance(query, HostQuery)
    assert not query.everything
    assert driver("cepheid_genexpert").respond(payload, found, {}, NOW) == []


@pytest.mark.req("GW-10")
def test_a_genexpert_that_asks_for_two_specimens_gets_both_with_its_own_numbers() -> None:
    payload = message("cepheid_genexpert", "Q|1|^2026A^000123@^2026B||||||||||O@N")
    found = driver("cepheid_genexpert").decode(payload)
    orders = {"2026A": [Order("2026A", ("MTB",))], "2026B": [Order("2026B", ("FLU",), cancelled=True)]}
    [reply] = driver("cepheid_genexpert").respond(payload, found, orders, NOW)
    assert reply.split(b"\r")[1:] == [
        b"P|1",
        b"O|1|2026A|000123|^^^MTB|R|20261102083000|||||A||||ORH||||||||||Q",
        b"L|1|F",
        b"",
    ]


def test_a_genexpert_tells_the_number_it_gave_a_specimen() -> None:
    found = read("cepheid_genexpert", "P|1", "O|1|2026A|000123|^^^MTB|R|20261102083000|||||P||||ORH||||||||||I")
    [event] = found.items
    assert isinstance(event, InstrumentEvent)
    assert (event.name, event.specimen, event.detail) == ("instrument specimen", "2026A", "000123")


# ---------------------------------------------------------------- Horiba


def test_a_curve_without_a_result_of_its_sample_stays_visible() -> None:
    row = "M|1|HISTOGRAM|RBC/PLT|PltAlongRes|FLOATLE-stream/deflate:base64^Y2AAAQUnBoYGIHZwYGDwcGRg+OAIAA=="
    [event] = read("horiba_yumizen", "P|1", "O|1|2026", row).items
    assert isinstance(event, InstrumentEvent)
    assert (event.name, event.specimen) == ("curve", "2026")


def test_a_curve_is_never_hung_on_the_next_sample() -> None:
    row = "M|1|HISTOGRAM|RBC/PLT|PltAlongRes|FLOATLE-stream/deflate:base64^Y2AAAQUnBoYGIHZwYGDwcGRg+OAIAA=="
    found = read("horiba_yumizen", "P|1", "O|1|A", row, "P|2", "O|1|B", "R|1|^^^PLT^777-3|200|10E3/uL||N||F")
    assert one(found.items).attachments == ()
    assert [item.name for item in found.items if isinstance(item, InstrumentEvent)] == ["curve"]


@pytest.mark.req("GW-10")
def test_a_pentra_takes_a_worklist_that_it_did_not_ask_for() -> None:
    orders = [Order("2026A", ("DIF",)), Order("2026B", ("CBC",), "S"), Order("2026C", ("CBC",), cancelled=True)]
    [sent] = driver("horiba_pentra").download(orders, NOW)
    assert [row for row in sent.split(b"\r") if row.startswith(b"O")] == [
        b"O|1|2026A||^^^DIF|R|20261102083000|||||N||||1",
        b"O|1|2026B||^^^CBC|S|20261102083000|||||N||||1",
    ]
    assert driver("horiba_pentra").download(orders[2:], NOW) == ()


# ---------------------------------------------------------------- Siemens


def test_a_dca_control_is_named_by_what_was_scanned() -> None:
    found = one(read("siemens_dca_astm", "P|1|CTRL-LOW", "O|1||662^0090||||||||Q", "R|1|^^^HbA1c|5.4|%||||F").items)
    assert found.qc is not None
    assert (found.qc.material, found.reagent_lot) == ("CTRL-LOW", "0090")
