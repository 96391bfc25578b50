"""VITEK 2 texts and the MAGLUMI's orders: what their documents say beyond the transcripts."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from protocols.driver import Driver, discover, identify
from protocols.errors import DriverOptionError
from protocols.links.astm import AstmLink
from protocols.links.astm_envelope import AstmEnvelopeLink
from protocols.links.text import TextLink
from protocols.model import InstrumentEvent, Observation, Order, Undecoded

pytestmark = pytest.mark.req("GW-5")

NOW = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)


def vitek() -> Driver:
    return discover()["biomerieux_vitek2"]


def maglumi() -> Driver:
    return discover()["snibe_maglumi"]


def observations(text: str) -> list[Observation]:
    return [item for item in vitek().decode(text.encode()).items if isinstance(item, Observation)]


def test_line_that_breaks_a_field_in_two_joins_again() -> None:
    found = observations("\x1emtrsl|itSU|ciS1|ta|rtAST|t11|o1staaur|ra|a1ox|a2Oxa\x1ecillin|a3>=\x1e4|a4R|")
    assert [(each.code, each.value, each.name) for each in found[1:]] == [
        ("SU^ox", ">=4", "1^staaur^Oxacillin"),
        ("SU^ox^final", "R", "1^staaur^Oxacillin"),
    ]


def test_two_isolates_of_one_specimen_are_told_apart() -> None:
    first = observations("mtrsl|itSU|ciS1|ta|t11|o1staaur|ra|a1ox|a3>=4|")
    second = observations("mtrsl|itSU|ciS1|ta|t12|o1esccol|ra|a1am|a3<=2|")
    assert (first[0].name, second[0].name) == ("1^staaur", "2^esccol")


def test_organism_without_a_name_is_carried_by_its_code() -> None:
    assert observations("mtrsl|itID|ciS1|ta|t11|o1citfre|")[0].value == "citfre"


def test_interpretation_without_a_mic_is_kept() -> None:
    found = observations("mtrsl|itSU|ciS1|ta|t11|o1staaur|ra|ad|a1cz|a4S|")
    assert [(each.code, each.value, each.flags) for each in found] == [
        ("SU^cz", None, ("ad",)),
        ("SU^cz^final", "S", ("ad",)),
    ]


def test_susceptibility_without_its_antibiotic_is_shown_to_a_person() -> None:
    items = vitek().decode(b"mtrsl|itSU|ciS1|ta|t11|o1staaur|ra|a3>=4|a4R|").items
    assert [item.reason for item in items if isinstance(item, Undecoded)] == ["a susceptibility without its antibiotic"]


def test_another_message_of_the_system_is_carried_as_it_came() -> None:
    (item,) = vitek().decode(b"mtqry|ciS1|").items
    assert isinstance(item, InstrumentEvent)
    assert item.detail == "mtqry|ciS1|"


def test_date_of_unknown_order_stays_as_it_came() -> None:
    assert observations("mtrsl|itID|ciS1|ta|r311/02/2026|r409:15|o1citfre|")[0].observed_at == "11/02/2026 09:15"


@pytest.mark.parametrize(
    ("text", "owner"),
    [
        (b"\x1emtrsl|\x1epi|\x1esi|\x1eciS1|\x1ertTSH|\x1ernTSH|\x1eqn2.4|", "biomerieux_mini_vidas"),
        (b"\x1emtrsl|itID|ciS1|ta|rtGN|t11|o1citfre|", "biomerieux_vitek2"),
        (b"\x1emtrsl|idBMX|ciS1|ta|rtid-gn|t2ID|o1citfre|", "biomerieux_vitek2"),
    ],
)
def test_vidas_and_vitek_texts_find_their_own_driver(text: bytes, owner: str) -> None:
    found, _ = identify(text)
    assert found is not None
    assert found.id == owner


def test_framing_follows_the_instruments_setting() -> None:
    assert isinstance(vitek().new_link(), TextLink)
    assert isinstance(vitek().configured({"framing": "astm"}).new_link(), AstmLink)
    assert isinstance(maglumi().new_link(), AstmEnvelopeLink)
    assert isinstance(maglumi().configured({"framing": "astm"}).new_link(), AstmLink)


@pytest.mark.parametrize("options", [{"framing": "hl7"}, {"date_order": "ydm"}, {"baud": 9600}])
def test_setting_that_is_not_known_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(DriverOptionError):
        vitek().configured(options)
    with pytest.raises(DriverOptionError):
        maglumi().configured(options)


def test_maglumi_under_a_name_of_the_laboratorys_choice_is_still_known() -> None:
    renamed = b"H|\\^&||PSWD|X6 User|||||Lis||P|E1394-97|20261102\rL|1|N\r"
    found, match = identify(renamed)
    assert found is not None
    assert found.id == "snibe_maglumi"
    assert match.score < 1


def test_maglumi_order_ends_with_its_priority() -> None:
    asked = b"H|\\^&||PSWD|Maglumi 800|||||Lab||P|E1394-97|20261102\rQ|1|^S1||ALL||||||||O\rL|1|N\r"
    (reply,) = maglumi().respond(asked, maglumi().decode(asked), {"S1": [Order("S1", ("TSH II",), "S")]}, NOW)
    assert reply == b"H|\\^&||PSWD|Maglumi 800|||||Lab||P|E1394-97|20261102\rP|1\rO|1|S1||^^^TSH II|S\rL|1|N\r"
