"""What a Sysmex XN says and hears: records of its ASTM E1394-97 interface.

Written from Sysmex' "XN series ASTM Host Interface Specifications" as public projects quote them, and from what public
captures show: the sender in H.5 padded to ten, the sample number right-aligned in 22 characters with the attribute of
the number after it (B read from the barcode, A given by the analyzer), the parameter in the fifth component of R.3, a
message or a picture as one more R record, units as a site sets them (here the factory's: 10*3/uL, g/dL).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from simulators.analyzers.blood import Tube, blood_count


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the XN: unit, decimals, and the limits that this (simulated) site has set on the analyzer."""

    unit: str
    decimals: int
    low: float | None = None
    high: float | None = None
    panic_low: float | None = None
    panic_high: float | None = None


PARAMETERS: Mapping[str, Parameter] = {
    "WBC": Parameter("10*3/uL", 2, 3.5, 9.5, 1.5, 30.0),
    "RBC": Parameter("10*6/uL", 2, 3.8, 5.8),
    "HGB": Parameter("g/dL", 1, 11.5, 17.5, 6.0, 20.0),
    "HCT": Parameter("%", 1, 35.0, 50.0),
    "MCV": Parameter("fL", 1, 82.0, 100.0),
    "MCH": Parameter("pg", 1, 27.0, 34.0),
    "MCHC": Parameter("g/dL", 1, 31.6, 35.4),
    "PLT": Parameter("10*3/uL", 0, 125, 350, 30, 1000),
    "RDW-SD": Parameter("fL", 1, 37.0, 54.0),
    "RDW-CV": Parameter("%", 1, 11.0, 15.0),
    "PDW": Parameter("fL", 1, 9.0, 17.0),
    "MPV": Parameter("fL", 1, 9.0, 13.0),
    "P-LCR": Parameter("%", 1, 13.0, 43.0),
    "PCT": Parameter("%", 2, 0.10, 0.35),
    "NEUT#": Parameter("10*3/uL", 2, 1.8, 6.3, 0.5),
    "LYMPH#": Parameter("10*3/uL", 2, 1.1, 3.2),
    "MONO#": Parameter("10*3/uL", 2, 0.1, 0.6),
    "EO#": Parameter("10*3/uL", 2, 0.02, 0.52),
    "BASO#": Parameter("10*3/uL", 2, 0.0, 0.06),
    "NEUT%": Parameter("%", 1, 40.0, 75.0),
    "LYMPH%": Parameter("%", 1, 20.0, 50.0),
    "MONO%": Parameter("%", 1, 3.0, 10.0),
    "EO%": Parameter("%", 1, 0.4, 8.0),
    "BASO%": Parameter("%", 1, 0.0, 1.0),
    "IG#": Parameter("10*3/uL", 2, 0.0, 0.06),
    "IG%": Parameter("%", 1, 0.0, 0.6),
    "NRBC#": Parameter("10*3/uL", 2, 0.0, 0.0),
    "NRBC%": Parameter("%", 1, 0.0, 0.0),
    "RET%": Parameter("%", 2, 0.5, 2.0),
    "RET#": Parameter("10*6/uL", 4, 0.02, 0.10),
    "IRF": Parameter("%", 1, 2.0, 16.0),
    "RET-HE": Parameter("pg", 1, 28.0, 36.0),
}

NO_ORDER_ANALYZE, NO_ORDER_SKIP = "Y", "X"
"""O.26 of an answer where the host has no order: analyze with the default order, or do not aspirate."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One value as it goes on the wire."""

    code: str
    value: str
    unit: str
    flag: str = "N"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the host said to a query."""

    barcode: str
    codes: tuple[str, ...]
    report_type: str
    rack: str = ""
    position: str = ""

    @property
    def no_order(self) -> bool:
        return not self.codes


@dataclass(slots=True)
class SysmexXN:
    """One analyzer: who it is, and its records."""

    model: str = "XN-1000"
    serial: str = "20417"
    instrument_id: str = "SIM00417"

    def header(self) -> str:
        return f"H|\\^&|||{self.model:>10}^00-23^{self.serial}^^^^{self.instrument_id}||||||||E1394-97"

    def query(self, barcode: str, rack: int, position: int, at: datetime) -> list[str]:
        """Which parameters for this tube? (request information record)"""
        return [self.header(), f"Q|1|{rack}^{position}^{barcode:>22}^B||||{at:%Y%m%d%H%M%S}", "L|1|N"]

    def read_answer(self, text: bytes) -> Answer | None:
        """The order in the host's message, or None where it holds none for a tube."""
        records = [line.split("|") for line in text.decode("utf-8", "replace").replace("\n", "\r").split("\r") if line]
        for record in records:
            if record[0] != "O":
                continue
            fields = record + [""] * (27 - len(record))
            place = [*(fields[2] or fields[3]).split("^"), "", "", ""]
            codes = tuple(part.split("^")[4] for part in fields[4].split("\\") if part.count("^") >= 4)
            return Answer(place[2].strip(), tuple(code for code in codes if code), fields[25], place[0], place[1])
        return None

    def results(
        self, tube: Tube, codes: Sequence[str], *, seed: int, rack: int, position: int, at: datetime
    ) -> tuple[list[str], list[Measured]]:
        """Records of one analysis, and the ordered values in them (messages and pictures are no values)."""
        story, values = blood_count(seed, tube)
        ordered = [code for code in codes if code in PARAMETERS]
        measured = [self._measure(code, values[code]) for code in ordered]
        listed = "\\".join(f"^^^^{code}" for code in ordered)
        when = f"{at:%Y%m%d%H%M%S}"
        lines = [f"^^^^{each.code}^1|{each.value}|{each.unit}||{each.flag}||F||||{when}" for each in measured]
        lines += [f"{extra}||F||||{when}" for extra in (*self._messages(story, values), *self._pictures(tube, at))]
        records = [
            self.header(),
            "P|1|||||||U|||||^||||||||||||^^^",
            "C|1||",
            f"O|1||{rack}^{position}^{tube.barcode:>22}^B|{listed}|||||||N||||||||||||||F",
            "C|1||",
            *(f"R|{number}|{line}" for number, line in enumerate(lines, 1)),
            "L|1|N",
        ]
        return records, measured

    def control(self, level: int, lot: str, *, seed: int, at: datetime) -> tuple[list[str], list[Measured]]:
        """A run of control blood: its barcode starts with QC-, which is how the XN and its host tell it."""
        barcode = f"QC-{lot}{level:02d}"
        scale = {1: 0.55, 2: 1.0, 3: 1.9}.get(level, 1.0)
        _, values = blood_count(seed, Tube(f"control blood {lot}", "M", 40))
        drift = 1 + (seed % 7 - 3) * 0.002
        measured = []
        for code in ("WBC", "RBC", "HGB", "PLT", "HCT", "MCV"):
            factor = (scale if code not in ("MCV",) else 1.0) * drift
            measured.append(self._measure(code, values[code] * factor))
        when = f"{at:%Y%m%d%H%M%S}"
        records = [
            self.header(),
            "P|1",
            f"O|1||^^{barcode:>22}^B|{chr(92).join('^^^^' + each.code for each in measured)}|||||||Q||||||||||||||F",
            *(
                f"R|{number}|^^^^{each.code}^1|{each.value}|{each.unit}||N||F||||{when}"
                for number, each in enumerate(measured, 1)
            ),
            "L|1|N",
        ]
        return records, measured

    def _measure(self, code: str, value: float) -> Measured:
        parameter = PARAMETERS[code]
        value = round(value, parameter.decimals)
        return Measured(code, f"{value:.{parameter.decimals}f}", parameter.unit, flag(parameter, value))

    def _messages(self, story: str, values: Mapping[str, float]) -> list[str]:
        """IP messages: a name with flag A where the analyzer is sure, a Q-flag of 0 to 300 where it suspects."""
        found = [
            f"^^^^{name}||||A"
            for name, present in (
                ("Leukocytosis", values["WBC"] > 18),
                ("Leukocytopenia", values["WBC"] < 2.5),
                ("Anemia", values["HGB"] < 10),
                ("Thrombocytopenia", values["PLT"] < 60),
                ("Eosinophilia", values["EO#"] > 0.7),
                ("Positive_Count", story in ("bleeding", "low platelets", "very low platelets", "leukaemia")),
                ("Positive_Diff", story in ("leukaemia", "infection")),
            )
            if present
        ]
        suspects = {
            "Blasts/Abn_Lympho?": 210 if story == "leukaemia" else 0,
            "Left_Shift?": 120 if story == "infection" else 10,
            "Atypical_Lympho?": 110 if story == "viral" else 0,
            "RBC_Agglutination?": 70,
            "Turbidity/HGB_Interference?": 80,
            "Iron_Deficiency?": 140 if story == "iron deficiency" else 60,
            "PLT_Clumps?": 0,
        }
        return found + [f"^^^^{name}|{score}|||{'A' if score > 100 else ''}" for name, score in suspects.items()]

    def _pictures(self, tube: Tube, at: datetime) -> list[str]:
        """Scattergrams and histograms travel as the name of a picture on the analyzer's own share."""
        stem = f"PNG&R&{at:%Y%m%d}&R&{at:%Y_%m_%d_%H_%M}_{tube.barcode}"
        return [
            f"^^^^{code}|{stem}_{name}.PNG|||N"
            for code, name in (
                ("SCAT_WDF", "WDF"),
                ("SCAT_WNR", "WNR"),
                ("SCAT_WDF-CBC", "WDF_CBC"),
                ("DIST_RBC", "RBC"),
                ("DIST_PLT", "PLT"),
            )
        ]


def flag(parameter: Parameter, value: float) -> str:
    """R.7 by the limits set on the analyzer: LL and HH beyond its panic limits, L and H outside the interval."""
    if parameter.panic_low is not None and value < parameter.panic_low:
        return "LL"
    if parameter.panic_high is not None and value > parameter.panic_high:
        return "HH"
    if parameter.low is not None and value < parameter.low:
        return "L"
    if parameter.high is not None and value > parameter.high:
        return "H"
    return "N"
