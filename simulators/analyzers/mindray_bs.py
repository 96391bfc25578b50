"""What a Mindray BS chemistry analyzer says and hears: HL7 2.3.1 of its host interface.

Written from Mindray's "Host Interface Manual" of the BS-120/200E family (v6.0) as public projects quote it: MSH-16
tells patient results (0) from control results (2), the test is a number in OBX-3 (the site's own `ItemID.ini` joins it
to a test), a query QRY^Q02 is answered by QCK^Q02 and, when there is an order, by DSR^Q03 with numbered DSP lines (21
the barcode, 29 and on a test each), which the analyzer acknowledges. A result message holds one test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from simulators.analyzers.blood import CHEMISTRY, Tube, chemistry
from simulators.mllp import field, segment, stamp


@dataclass(frozen=True, slots=True)
class Item:
    """One line of this analyzer's own test table."""

    analyte: str
    name: str
    unit: str
    decimals: int
    low: float
    high: float
    """The interval that the (simulated) site has set on the analyzer; it prints it in OBX-7 and flags by it."""


ITEMS: Mapping[str, Item] = {
    "1": Item("ALT", "ALT", "U/L", 1, 7, 50),
    "2": Item("AST", "AST", "U/L", 1, 13, 40),
    "3": Item("TBIL", "TBIL", "umol/L", 1, 0, 26),
    "4": Item("DBIL", "DBIL", "umol/L", 1, 0, 8),
    "5": Item("TP", "TP", "g/L", 1, 65, 85),
    "6": Item("ALB", "ALB", "g/L", 1, 40, 55),
    "7": Item("ALP", "ALP", "U/L", 1, 45, 125),
    "8": Item("GGT", "GGT", "U/L", 1, 10, 60),
    "9": Item("TBA", "TBA", "umol/L", 1, 0, 10),
    "10": Item("CHE", "CHE", "U/L", 0, 5000, 12000),
    "11": Item("UREA", "UREA", "mmol/L", 2, 3.1, 8.0),
    "12": Item("CREA", "CREA", "umol/L", 1, 41, 97),
    "13": Item("UA", "UA", "umol/L", 1, 155, 428),
    "14": Item("CYSC", "CysC", "mg/L", 2, 0.6, 1.1),
    "15": Item("CO2", "CO2", "mmol/L", 1, 22, 29),
    "16": Item("GLU", "GLU", "mmol/L", 2, 3.9, 6.1),
    "17": Item("TC", "TC", "mmol/L", 2, 0, 5.18),
    "18": Item("TG", "TG", "mmol/L", 2, 0, 1.7),
    "19": Item("HDL", "HDL-C", "mmol/L", 2, 1.04, 2.5),
    "20": Item("LDL", "LDL-C", "mmol/L", 2, 0, 3.37),
    "21": Item("APOA", "ApoA1", "g/L", 2, 1.0, 1.6),
    "22": Item("APOB", "ApoB", "g/L", 2, 0.6, 1.1),
    "23": Item("LPA", "Lp(a)", "mg/L", 0, 0, 300),
    "24": Item("CK", "CK", "U/L", 0, 40, 200),
    "25": Item("CKMB", "CK-MB", "U/L", 1, 0, 24),
    "26": Item("LDH", "LDH", "U/L", 0, 120, 250),
    "27": Item("HBDH", "HBDH", "U/L", 0, 72, 182),
    "28": Item("AMY", "AMY", "U/L", 0, 35, 135),
    "29": Item("LIP", "LIP", "U/L", 1, 0, 60),
    "30": Item("CA", "Ca", "mmol/L", 2, 2.11, 2.52),
    "31": Item("PHOS", "P", "mmol/L", 2, 0.85, 1.51),
    "32": Item("MG", "Mg", "mmol/L", 2, 0.75, 1.02),
    "33": Item("FE", "Fe", "umol/L", 1, 7.8, 32.2),
    "34": Item("CRP", "CRP", "mg/L", 1, 0, 10),
    "35": Item("HSCRP", "hsCRP", "mg/L", 2, 0, 3),
    "36": Item("ASO", "ASO", "IU/mL", 0, 0, 200),
    "37": Item("RF", "RF", "IU/mL", 1, 0, 20),
    "38": Item("PA", "PA", "mg/L", 0, 180, 400),
    "39": Item("HCY", "HCY", "umol/L", 1, 0, 15),
    "40": Item("TRF", "TRF", "g/L", 2, 2.0, 3.6),
    "57": Item("K", "K", "mmol/L", 2, 3.5, 5.3),
    "58": Item("NA", "Na", "mmol/L", 1, 137, 147),
    "59": Item("CL", "Cl", "mmol/L", 1, 99, 110),
}


@dataclass(frozen=True, slots=True)
class Measured:
    code: str
    value: str
    unit: str
    flag: str


@dataclass(slots=True)
class MindrayBS:
    """One analyzer and its messages. Control numbers run on from 1."""

    model: str = "BS-480"
    results_per_message: int = 1
    _control_number: int = 0

    def next_number(self) -> str:
        self._control_number += 1
        return str(self._control_number)

    def _header(self, kind: str, number: str, at: datetime, result_kind: str = "") -> str:
        return f"MSH|^~\\&|Mindray|{self.model}|||{stamp(at)}||{kind}|{number}|P|2.3.1||||{result_kind}||ASCII|||"

    def query(self, barcode: str, number: str, at: datetime) -> list[str]:
        return [
            self._header("QRY^Q02", number, at),
            f"QRD|{stamp(at)}|R|D|{number}|||RD|{barcode}|OTH|||T|",
            f"QRF|{self.model}|{at:%Y%m%d}000000|{stamp(at)}|||RCT|COR|ALL||",
        ]

    def read_order(self, segments: list[str]) -> tuple[str, tuple[str, ...]]:
        """Barcode and test numbers of a DSR^Q03."""
        lines = {}
        for each in segments:
            fields = each.split("|")
            if fields[0] == "DSP" and len(fields) > 3:
                lines[int(fields[1] or 0)] = fields[3]
        tests = tuple(lines[at].split("^")[0].strip() for at in sorted(lines) if at >= 29)
        return lines.get(21, ""), tuple(test for test in tests if test)

    def accept_order(self, received: list[str], at: datetime) -> list[str]:
        """ACK^Q03 of a DSR^Q03, under the control number of the data."""
        number = field(segment(received, "MSH"), 10)
        return [self._header("ACK^Q03", number, at), f"MSA|AA|{number}|Message accepted|||0|", "ERR|0|"]

    def measure(self, tube: Tube, codes: Sequence[str], *, seed: int) -> list[Measured]:
        values = chemistry(seed, tube)
        return [_measured(code, ITEMS[code], values[ITEMS[code].analyte]) for code in codes if code in ITEMS]

    def results(self, tube: Tube, measured: Sequence[Measured], number: str, at: datetime, position: int) -> list[str]:
        """One ORU^R01."""
        when = stamp(at)
        lines = [
            self._header("ORU^R01", number, at, "0"),
            "PID|1||||||||||||||||||||||||||||||",
            f"OBR|1|{tube.barcode}|{position}|Mindray^{self.model}|N||{when}||||||||serum|||||||||||||||||||||||||||||||||",
        ]
        for at_line, each in enumerate(measured, 1):
            item = ITEMS[each.code]
            lines.append(
                f"OBX|{at_line}|NM|{each.code}|{item.name}|{each.value}|{each.unit}|{item.low:g}-{item.high:g}|{each.flag}"
                f"|||F||{each.value}|{when}||||"
            )
        return lines

    def control(
        self, code: str, level: str, lot: str, number: str, *, seed: int, at: datetime
    ) -> tuple[list[str], Measured]:
        """One control result: MSH-16 is 2 and the OBR carries material, lot, level, target and value."""
        item = ITEMS[code]
        target = CHEMISTRY[item.analyte][0] * {"L": 0.6, "M": 1.0, "H": 1.8}[level]
        deviation = target * 0.025
        found = _measured(code, item, target + deviation * (((seed * 31 + int(code) * 17) % 41) - 20) / 14)
        when = stamp(at)
        control = (
            f"OBR|1|{code}|{item.name}|Mindray^{self.model}||{when}|||||||SIMTROL|{lot}|20280101000000||{level}"
            f"|{target:.6f}|{deviation:.6f}|{found.value}|{item.unit}|||||||||||||||"
        )
        return [self._header("ORU^R01", number, at, "2"), control], found


def _measured(code: str, item: Item, value: float) -> Measured:
    value = round(value, item.decimals)
    mark = "L" if value < item.low else "H" if value > item.high else "N"
    return Measured(code, f"{value:.{item.decimals}f}", item.unit, mark)
