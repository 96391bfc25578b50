"""What each ASTM instrument known from documents does otherwise than the standard."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from protocols.driver import Driver, discover, identify
from protocols.links.astm_frames import AstmOptions, cut_message
from protocols.model import Decoded, HostQuery, InstrumentEvent, Observation, Order

pytestmark = pytest.mark.req("GW-3")

NOW = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)


def driver(name: str) -> Driver:
    return discover()[name]


def message(*records: str) -> bytes:
    return ("\r".join(records) + "\r").encode()


def results(found: Decoded) -> list[Observation]:
    return [item for item in found.items if isinstance(item, Observation)]


def answer(name: str, question: bytes, *orders: Order) -> list[list[str]]:
    """The records of each answer, each still in one piece."""
    by_specimen: dict[str, list[Order]] = {}
    for order in orders:
        by_specimen.setdefault(order.specimen, []).append(order)
    replies = driver(name).respond(question, driver(name).decode(question), by_specimen, NOW)
    return [reply.decode().rstrip("\r").split("\r") for reply in replies]


# ---------------------------------------------------------------- Abbott ARCHITECT

ARCHITECT = r"H|\^&|||ARCHITECT^9.45^F3450000001^H1P1O1R1C1Q1L1|||||||P|1|20261102091500"


def test_correlation_version_of_an_architect_assay_never_passes_for_the_primary_one() -> None:
    payload = message(
        ARCHITECT,
        "P|1",
        "O|1|S1|S1^A1^1|^^^580^Anti-HBc^UNDILUTED^C|R",
        "R|1|^^^580^Anti-HBc^UNDILUTED^C^73294BE00^02130^^F|0.15|S/CO||||F",
        "R|2|^^^580^Anti-HBc^UNDILUTED^C^73294BE00^02130^^I|Nonreactive|||||F",
    )
    assert [each.code for each in results(driver("abbott_architect").decode(payload))] == ["580^C", "580^C^I"]


def test_control_lot_in_a_patients_result_makes_no_control_of_it() -> None:
    payload = message(ARCHITECT, "P|1", "O|1|S1", "R|1|^^^241^TSH^UNDILUTED^P^0607M200^01824^40080^F|4.6|mIU/mL||||F")
    assert results(driver("abbott_architect").decode(payload))[0].qc is None


def test_architect_gets_orders_that_it_did_not_ask_for_with_report_type_o() -> None:
    order = Order("S1", ("651",), specimen_type="serum", collected_at="2026-11-02T07:15:00")
    (download,) = driver("abbott_architect").download([order, Order("S2", ("1",), cancelled=True)], NOW)
    assert download == message(
        r"H|\^&||||||||||P|1", "P|1", "O|1|S1||^^^651|R||20261102071500||||A||||serum||||||||||O", "L|1"
    )


def test_architect_is_told_for_every_tube_that_nothing_is_ordered() -> None:
    asked = message(ARCHITECT, r"Q|1|^S1\^S2||^^^ALL||||||||O", "L|1")
    assert answer("abbott_architect", asked) == [
        [r"H|\^&||||||||||P|1", "Q|1|^S1||^^^ALL||||||||X", "Q|2|^S2||^^^ALL||||||||X", "L|1"]
    ]


# ---------------------------------------------------------------- Abbott Afinion 2


def test_running_number_of_an_afinion_is_never_taken_for_a_specimen() -> None:
    payload = message(
        r"H|\^&|||Afinion 2 Analyzer^^AF0000031|||||EPR||P|1|20261102101548|",
        "P|1||||||||U|",
        "O|1||17|^^^CRP|||||||N||||^O",
        "R|1|^^^CRP|16|mg/L||||F||||20261102101352|",
    )
    (crp,) = results(driver("abbott_afinion2").decode(payload))
    assert crp.specimen is None
    assert crp.value == "16"


# ---------------------------------------------------------------- Beckman Access


def test_access_is_answered_by_the_name_it_gave_itself_without_its_noise() -> None:
    asked = message("H|\\^&|||ACCESS^6000\x0512|||||LIS||P|1|20261102090600", "Q|1|^S1||ALL||||||||O", "L|1|F")
    (reply,) = answer("beckman_access", asked, Order("S1", ("TSH",)))
    assert reply[0] == r"H|\^&|||LIS|||||ACCESS^600012||P|1|20261102083000"


def test_access_order_keeps_the_specimen_type_that_the_laboratory_gave() -> None:
    asked = message(r"H|\^&|||ACCESS^600001|||||LIS||P|1|20261102090600", "Q|1|^S1||ALL||||||||O", "L|1|F")
    (reply,) = answer("beckman_access", asked, Order("S1", ("TSH",), specimen_type="Plasma"))
    assert reply[2] == "O|1|S1||^^^TSH|R||||||A||||Plasma"


# ---------------------------------------------------------------- Siemens Centaur

CENTAUR = r"H|\^&|||ADVCNT_LIS|||||LIS_ID||P|1"


@pytest.mark.parametrize(
    ("sent", "carried"),
    [("F", "F"), (r"F\Q", "F"), (r"F\Q\R", "F"), (r"F\X", r"F\X"), (r"P\Q", r"P\Q"), ("", None)],
)
def test_centaur_result_is_final_only_where_nothing_speaks_against_it(sent: str, carried: str | None) -> None:
    payload = message(CENTAUR, "P|1", "O|1|S1", f"R|1|^^^TSH^^^1^DOSE|2.4|uIU/mL||||{sent}||||20261102083350")
    assert results(driver("siemens_centaur").decode(payload))[0].status == carried


def test_control_named_in_an_m_record_ends_with_its_order() -> None:
    payload = message(
        CENTAUR,
        "P|1",
        "O|1|QC1||^^^TSH",
        "M|1|CCD^ACS:NG^V1^O|LIGAND 2|000123",
        "R|1|^^^TSH^^^1^DOSE|6.0|uIU/mL||||F",
        "O|2|S2||^^^TSH",
        "R|1|^^^TSH^^^1^DOSE|2.0|uIU/mL||||F",
    )
    control, patient = results(driver("siemens_centaur").decode(payload))
    assert control.qc is not None
    assert control.qc.lot == "000123"
    assert patient.qc is None


def test_centaur_is_told_nothing_of_tests_that_it_did_not_ask_for() -> None:
    asked = message(CENTAUR, r"Q|1|^S1|^S1|^^^FER||||||||O", "L|1|N")
    assert answer("siemens_centaur", asked, Order("S1", ("TSH",)))[0][-1] == "L|1|I"


# ---------------------------------------------------------------- Ortho VITROS ECi


def test_vitros_eci_is_sent_its_orders_in_the_records_it_is_known_to_accept() -> None:
    order = Order("SF2608310003", ("075", "035"), patient_id="10062026002906", patient_name="DOE", sex="M")
    (download,) = driver("ortho_vitros_eci").download([order], NOW)
    assert download == message(
        r"H|\^&|||HOST|||||||||20261102083000",
        "P|1|10062026002906|||DOE^^|||M|||||||||||||||||||||||||||",
        r"O|1|SF2608310003||^^^1.0+075+1\035+1|R||||||N||||4||||||||||O||||||",
        "L|1|N",
    )


def test_vitros_eci_test_without_dilutions_keeps_its_whole_identifier() -> None:
    payload = message(r"H|\^&|||VITROS|||||||||20261102103026", "P|1", "O|1|S1^02^0", "R|1|^^^032|356|pg/mL||^0^||V")
    assert results(driver("ortho_vitros_eci").decode(payload))[0].code == "032"


@pytest.mark.parametrize(("sent", "carried"), [("^0^", ()), ("^17^", ("17",)), ("H^0^", ("H", "0")), ("", ())])
def test_only_a_lone_zero_of_a_vitros_eci_is_no_flag(sent: str, carried: tuple[str, ...]) -> None:
    payload = message(r"H|\^&|||VITROS|||||||||20261102103026", "P|1", "O|1|S1^02^0", f"R|1|^^^1.0+032+1|356|||{sent}")
    assert results(driver("ortho_vitros_eci").decode(payload))[0].flags == carried


# ---------------------------------------------------------------- Ortho VISION

VISION = r"H|\^&|||OCD^VISION^5.14.0.47342^J60000001|||||||P|LIS2-A|20261102142633"


def test_message_that_keeps_the_connection_alive_holds_nothing() -> None:
    found = driver("ortho_vision").decode(message(VISION, "L||"))
    assert found.items == ()
    assert found.sender == "VISION"


def test_well_error_is_carried_with_its_meaning_and_an_unknown_grade_as_sent() -> None:
    payload = message(
        VISION, "P|1", "O|1|S1||ABO", "R|1|ABO|B|||||F", "M|1|A|ABDRev^1^1^L1^2027|Anti-A^R1|-115^^",
        "M|2|D|ABDRev^3^1^L1^2027||77^^", "M|3||||",
    )  # fmt: skip
    found = driver("ortho_vision").decode(payload)
    _, mixed, unknown = results(found)
    assert (mixed.code, mixed.value, mixed.comments) == ("ABDRev^A", "-115", ("mixed field",))
    assert (unknown.value, unknown.comments, unknown.reagent_lot) == ("77", (), "L1")
    assert [each.name for each in found.items if isinstance(each, InstrumentEvent)] == ["manufacturer record"]


def test_vision_order_names_profile_and_specimen_type_bare() -> None:
    asked = message(VISION, "Q|1|^S1||||||||||O", "L||")
    (reply,) = answer("ortho_vision", asked, Order("S1", ("ABO",), priority="S", specimen_type="CENTBLOOD"))
    assert reply[2] == "O|1|S1||ABO|S||||||N||||CENTBLOOD"


# ---------------------------------------------------------------- IL ACL TOP

ACL = r"H|@^\|<17936_59>||acltop|||||LIS||P|1394-97|20261102080544"


def test_acl_top_speaks_and_is_answered_in_its_own_delimiters() -> None:
    asked = message(ACL, "Q|1|^S1@^S2||||||||||O@N", "L|1|N")
    (reply,) = answer("il_acl_top", asked, Order("S1", ("1551^s", "1551^INR")), Order("S2", ("18@2",)))
    assert reply[2] == "O|1|S1||^^^1551|R||||||A||||P||||||||||Q"
    assert reply[4] == r"O|1|S2||^^^18\R\2|R||||||A||||P||||||||||Q"


def test_acl_top_answer_is_one_stream_of_records() -> None:
    orders = {f"S{n}": [Order(f"S{n}", ("1551", "1802"))] for n in range(6)}
    asked = message(ACL, "Q|1|" + "@".join(f"^S{n}" for n in range(6)) + "||||||||||O@N", "L|1|N")
    top = driver("il_acl_top")
    (reply,) = top.respond(asked, top.decode(asked), orders, NOW)
    options = getattr(top, "link_options", None)
    assert isinstance(options, AstmOptions)
    frames = cut_message(reply, options)
    assert len(frames) == -(-len(reply) // 240)
    assert all(b"\x17" in frame for frame in frames[:-1])


def test_acl_top_result_that_is_not_verified_is_not_called_final() -> None:
    payload = message(ACL, "P|1", "O|1|S1||^^^1551", "R|1|^^^1551|12.9|s||N||F@X||||20261102073249|ACLTOP^12^10")
    assert results(driver("il_acl_top").decode(payload))[0].status == "F@X"


# ---------------------------------------------------------------- Stago STA


def test_stago_is_sent_its_worklist_unasked() -> None:
    (download,) = driver("stago_sta").download([Order("S1", ("1", "5"), patient_id="P7")], NOW)
    assert download == message(
        r"H|\^&|||99^2.00|||||||P|1.00|20261102083000", "P|1|||P7^^^", r"O|1|S1||^^^1\^^^5|R", "L|1|N"
    )


# ---------------------------------------------------------------- DiaSorin LIAISON


def test_dilution_written_with_a_liaison_result_goes_before_that_of_the_order() -> None:
    payload = message(
        r"H|\^&|||LIAISON XL|||||LIS|||1|20261102111106", "P|1", r"O|1|S1||^^^AFP^1:10\^^^CEA^1:5",
        "R|1|^^^AFP^1:20|1820|IU/ml", "R|2|^^^CEA|7|ng/ml", "R|3|^^^FT4|1|ng/dl",
    )  # fmt: skip
    assert [each.dilution for each in results(driver("diasorin_liaison").decode(payload))] == ["1:20", "1:5", None]


# ---------------------------------------------------------------- Siemens IMMULITE


def test_immulite_under_a_name_of_the_laboratorys_choice_is_proposed_with_less_certainty() -> None:
    renamed = message(r"H|\^&||PASSWORD|SenderID||||N81|ReceiverID||P|1|20261102120613")
    found, match = identify(renamed)
    assert found is not None
    assert found.id == "siemens_immulite"
    assert 0.1 < match.score < 0.9


# ---------------------------------------------------------------- Bio-Rad D-10


@pytest.mark.parametrize("name", ["D10^07^3.00", "D-10", "Bio-Rad D-10", "Bio-Rad CDM System SN 00001"])
def test_d10_is_known_by_any_of_its_names(name: str) -> None:
    found, _ = identify(message(rf"H|\^&|||{name}|||||LIS||P|1|20261102041500", "L|1|N"))
    assert found is not None
    assert found.id == "biorad_d10"


def test_another_bio_rad_system_is_no_d10() -> None:
    assert driver("biorad_d10").fingerprint(message(r"H|\^&|||Bio-Rad|IH v5.2||||||||20261102")).score == 0


# ---------------------------------------------------------------- BD EpiCenter


def test_bactec_under_a_laboratorys_name_is_known_by_its_results() -> None:
    payload = message(
        r"H|\^&|||BLA||||||||V1.0|20261102110328", "P|1", "O|1|2280||^^^PLUSANF^449350000001|R",
        "R|1|^^^GND^449350000001|INST_ONGOING|||||P|||20261101110156|20261102111213|BACTECFX^93^5^2^D-C09", "L|1|N",
    )  # fmt: skip
    found, match = identify(payload)
    assert found is not None
    assert found.id == "bd_epicenter"
    assert match.score < 1


@pytest.mark.parametrize("result", ["OTHER^S1|A^B^C", "GND^1|INST_POSITIVE^87^9", "ID^1|"])
def test_micro_result_of_unknown_shape_stays_in_one_piece(result: str) -> None:
    payload = message(r"H|\^&|||Becton Dickinson||||||||V1.00|20261102", "P|1", "O|1|S1", f"R|1|^^^{result}|||||F")
    (whole,) = results(driver("bd_epicenter").decode(payload))
    assert whole.code == result.split("^")[0]
    assert (whole.value or "") == result.split("|")[1]


def test_same_drug_at_two_concentrations_is_two_results() -> None:
    payload = message(
        r"H|\^&|||Becton Dickinson||||||||V1.00|20261102", "P|1", "O|1|S1^1^MYCBTUB",
        "R|1|^^^AST^^INH^0.1^ug/ml|^^R", "R|2|^^^AST^^INH^0.4^ug/ml|^^S",
    )  # fmt: skip
    found = results(driver("bd_epicenter").decode(payload))
    assert [(each.code, each.value, each.name) for each in found] == [
        ("AST^INH^0.1^ug/ml^final", "R", "1^MYCBTUB"),
        ("AST^INH^0.4^ug/ml^final", "S", "1^MYCBTUB"),
    ]


def test_epicenter_is_sent_orders_unasked() -> None:
    order = Order("ACC1", ("MGIT_960_GND", "MGIT_960_AST"), specimen_type="Sputum", collected_at="2026-11-02T07:15:00")
    (download,) = driver("bd_epicenter").download([order], NOW)
    assert download == message(
        r"H|\^&|||Becton Dickinson||||||||V1.00|20261102083000",
        "P|1",
        "O|1|ACC1||^^^MGIT_960_GND|R||20261102071500||||A||||Sputum||||||||||O",
        "O|2|ACC1||^^^MGIT_960_AST|R||20261102071500||||A||||Sputum||||||||||O",
        "L|1|N",
    )


# ---------------------------------------------------------------- all of them


@pytest.mark.parametrize(
    "name",
    ["abbott_architect", "beckman_access", "siemens_centaur", "siemens_immulite", "ortho_vision", "il_acl_top",
     "stago_sta", "diasorin_liaison", "bd_epicenter"],
)  # fmt: skip
def test_cancelled_order_is_no_order(name: str) -> None:
    asked = message(r"H|\^&|||X|||||LIS||P|1|20261102", "Q|1|^S1||ALL||||||||O", "L|1|N")
    found = driver(name).decode(asked)
    assert any(isinstance(item, HostQuery) for item in found.items)
    (with_cancelled,) = driver(name).respond(asked, found, {"S1": [Order("S1", ("1",), cancelled=True)]}, NOW)
    (without,) = driver(name).respond(asked, found, {"S1": []}, NOW)
    assert with_cancelled == without
    assert b"\rO|" not in without
