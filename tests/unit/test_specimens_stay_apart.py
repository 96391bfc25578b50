"""What was said of one specimen or one patient never reaches the results of the next, in any driver."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from protocols.driver import Driver, discover
from protocols.model import Observation, Order

pytestmark = pytest.mark.req("GW-11", "GW-12")

NOW = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)
DRIVERS = sorted(discover().values(), key=lambda each: each.id)
ASTM = [pytest.param(each, id=each.id) for each in DRIVERS if each.protocol == "astm"]
HL7 = [pytest.param(each, id=each.id) for each in DRIVERS if each.protocol == "hl7"]
each_astm = pytest.mark.parametrize("driver", ASTM)
each_hl7 = pytest.mark.parametrize("driver", HL7)
each_driver = pytest.mark.parametrize("driver", [*ASTM, *HL7])
MSH = "MSH|^~\\&|A||||20261102||{kind}|1|P|2.5.1"


def results(driver: Driver, *records: str) -> dict[str, Observation]:
    payload = "".join(f"{each}\r" for each in records).encode()
    return {each.code: each for each in driver.decode(payload).items if isinstance(each, Observation)}


@each_astm
def test_order_without_a_specimen_is_nobodys(driver: Driver) -> None:
    found = results(
        driver, "H|\\^&|||X", "P|1", "O|1|S1||^^^GLU|||||||Q", "R|1|^^^GLU|5.1|g|||||F|||20261102083000",
        "O|2|||^^^BLANK", "R|1|^^^BLANK|7.1|g", "P|2", "R|1|^^^ORPHAN|6.1|g", "O|1|S2||^^^PAT|||||||N",
        "R|1|^^^PAT|7.1|g", "L|1|N", "H|\\^&|||X", "R|1|^^^BARE|1|g", "L|1|N",
    )  # fmt: skip
    for code, each in found.items():
        if any(name in code for name in ("BLANK", "ORPHAN", "BARE")):
            assert each.specimen not in ("S1", "S2"), code
        if "GLU" in code:
            assert each.qc is not None
        else:
            assert each.qc is None
            assert each.observed_at is None


@each_hl7
def test_next_patient_without_a_specimen_is_not_the_one_before(driver: Driver) -> None:
    found = results(
        driver, MSH.format(kind="ORU^R01"), "PID|1", "OBR|1||S1|x||20261102|20261102083000|||||||||^^^^^^Q",
        "OBX|1|NM|GLU||5.1|g|||||F", "PID|2", "OBR|2|||x", "OBX|1|NM|BLANK||6.1|g|||||F",
    )  # fmt: skip
    if "BLANK" in found:
        assert found["BLANK"].specimen is None
        assert found["BLANK"].observed_at is None
        assert found["BLANK"].qc is None


@each_hl7
def test_patient_behind_a_control_is_no_control(driver: Driver) -> None:
    found = results(
        driver, MSH.format(kind="OUL^R22^OUL_R22"), "SPM|1|S1^S1||S|||||||Q", "OBR|1||9|x", "OBX|1|NM|GLU||5.1|g|||||F",
        "SPM|2|S2||S|||||||P", "OBR|2|||x", "OBX|1|NM|PAT||6.1|g|||||F", "SPM|3|||S|||||||P", "OBR|3|||x",
        "OBX|1|NM|BLANK||6.1|g|||||F",
    )  # fmt: skip
    if "GLU" in found:
        assert found["GLU"].qc is not None
    if "PAT" in found:
        assert found["PAT"].specimen == "S2"
        assert found["PAT"].qc is None
    if "BLANK" in found:
        assert found["BLANK"].specimen is None
        assert found["BLANK"].qc is None


GENERAL = [pytest.param(discover()[name], id=name) for name in ("generic_hl7", "cepheid_genexpert_hl7")]


@pytest.mark.parametrize("driver", GENERAL)
def test_request_behind_a_group_with_its_specimen_does_not_take_that_specimen(driver: Driver) -> None:
    """ORU_R01 and ORU_R30 of HL7 2.5 send SPM behind the results: the next OBR, without SPM and number, is nobody's."""
    found = results(
        driver, MSH.format(kind="ORU^R01"), "PID|1", "OBR|1|||x|||20261102083000", "OBX|1|ST|GLU||5.1|g|||||F",
        "SPM|1|S1||S|||||||Q", "OBR|2|||x", "OBX|1|ST|BLANK||6.1|g|||||F",
    )  # fmt: skip
    assert (found["GLU"].specimen, found["BLANK"].specimen) == ("S1", None)
    assert (found["GLU"].qc is not None, found["BLANK"].qc) == (True, None)
    assert found["BLANK"].observed_at is None


@pytest.mark.parametrize("driver", GENERAL)
def test_each_request_takes_the_specimen_that_stands_behind_it(driver: Driver) -> None:
    found = results(
        driver, MSH.format(kind="ORU^R01"), "PID|1", "OBR|1|||x", "OBX|1|ST|A||1|g|||||F", "SPM|1|S1",
        "PID|2", "OBR|2|||x", "OBX|1|ST|B||2|g|||||F", "SPM|2|S2", "PID|3", "OBR|3|||x", "OBX|1|ST|C||3|g|||||F",
    )  # fmt: skip
    assert [found[code].specimen for code in "ABC"] == ["S1", "S2", None]


def test_one_specimen_behind_several_requests_is_that_of_all_of_them() -> None:
    found = results(
        discover()["generic_hl7"], MSH.format(kind="ORU^R30"), "PID|1", "OBR|1|||x", "OBX|1|ST|A||1|g|||||F",
        "OBR|2|||x", "OBX|1|ST|B||2|g|||||F", "SPM|1|S1",
    )  # fmt: skip
    assert [found[code].specimen for code in "AB"] == ["S1", "S1"]


@pytest.mark.parametrize("name", ["generic_hl7", "mindray_bc", "siemens_clinitek"])
def test_request_of_another_specimen_inherits_no_role_of_a_control(name: str) -> None:
    found = results(
        discover()[name], MSH.format(kind="ORU^R01"), "OBR|1||QC1|x|||||||||||^^^^^^Q", "OBX|1|NM|GLU||5.1|g|||||F",
        "OBR|2||S2|x", "OBX|1|NM|PAT||6.1|g|||||F",
    )  # fmt: skip
    if "PAT" in found:
        assert found["PAT"].qc is None


@each_driver
def test_no_field_of_an_order_ends_its_record(driver: Driver) -> None:
    """What the cloud says of a patient cannot become a record or a segment of its own."""
    evil = "M\r\nO|1|EVIL||^^^GLU"
    order = Order(specimen="S1", codes=("1", evil), priority=evil, sex=evil, patient_name=evil, specimen_type=evil)
    for written in driver.download([order], NOW):
        assert b"\rO|1|EVIL" not in written.replace(b"\n", b"\r")


@each_driver
def test_orders_without_specimen_raise_nothing(driver: Driver) -> None:
    for specimen in ("", " ", "9" * 64, "A|B^C\\D&E~F", "张三"):
        for codes in ((), ("",), ("GLU", "")):
            driver.download([Order(specimen=specimen, codes=codes, priority="R")], NOW)
