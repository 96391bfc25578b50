"""What `bench protocols` reads: messages of our own making, and the captures where they are at hand.

An input is one message without its frames or block characters (peers parse that), and the pieces in which the line
brings it (we read those).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from protocols.capture import Message, pieces
from protocols.driver import identify
from protocols.errors import LocalProtocolError
from protocols.links.astm_frames import AstmOptions, build_frame, cut_message

CAPTURES = Path(__file__).resolve().parents[3] / "shared" / "transcripts"
_LARGE = 64_000

_COUNT = [
    *("WBC", "RBC", "HGB", "HCT", "MCV", "MCH", "MCHC", "PLT", "RDW-SD", "RDW-CV", "MPV", "PDW", "PCT", "P-LCR", "IPF"),
    *("NEUT#", "LYMPH#", "MONO#", "EO#", "BASO#", "NEUT%", "LYMPH%", "MONO%", "EO%", "BASO%", "IG#", "IG%", "NRBC#"),
    *("NRBC%", "RET#", "RET%", "IRF", "LFR", "MFR", "HFR", "RET-He", "HPC#", "PLT-F", "PLT-O", "TNC#", "WBC-D"),
]


@dataclass(frozen=True)
class Input:
    name: str
    family: str
    """"astm" or "hl7"."""
    driver: str
    payload: bytes
    pieces: tuple[bytes, ...]
    """Frames, or blocks of MLLP, as they come on the line."""
    results: int


def _input(name: str, family: str, payload: bytes, frames: list[bytes]) -> Input:
    driver = identify(payload)[0]
    assert driver is not None, name
    decoded = driver.decode(payload)
    results = sum(str(item.kind) in ("observation", "qc") for item in decoded.items)
    return Input(name, family, driver.id, payload, tuple(frames), results)


def _astm(name: str, records: list[str], frame_text: int, charset: str = "utf-8") -> Input:
    payload = ("\r".join(records) + "\r").encode(charset)
    if frame_text >= len(payload):
        return _input(name, "astm", payload, [build_frame(1, payload, last=True)])
    options = AstmOptions(one_record_per_frame=False, sent_text_limit=frame_text)
    return _input(name, "astm", payload, cut_message(payload, options))


def _hl7(name: str, segments: list[str], charset: str = "utf-8") -> Input:
    payload = ("\r".join(segments) + "\r").encode(charset)
    return _input(name, "hl7", payload, [b"\x0b" + payload + b"\x1c\r"])


def _results(codes: list[str], unit: str, time: str = "20261123080100") -> list[str]:
    return [
        f"R|{number}|^^^^{code}^1|{number * 1.37:.2f}|{unit}||{'N' if number % 5 else 'H'}||F||||{time}"
        for number, code in enumerate(codes, start=1)
    ]


def _blood_count() -> Input:
    head = [
        "H|\\^&|||XN-550^00-24^22723^^^^BD634545||||||||E1394-97",
        "P|1|||7382|^Example^Person||19870626|M|||||^DR.1||||||||||||^^^WEST",
        "C|1||ROUTINE",
        f"O|1||^^              2611230007^B|{chr(92).join('^^^^' + each for each in _COUNT)}|||||||N||||||||||||||F",
    ]
    return _astm("XN-like, 41 R, one frame", [*head, *_results(_COUNT, "10*3/uL"), "L|1|N"], _LARGE)


def _two_hundred() -> Input:
    codes = [f"C{number:03}" for number in range(200)]
    head = ["H|\\^&|||Maker^Model^1.2|||||||P|E1394-97", "P|1", "O|1|2611230007||^^^ALL|R"]
    return _astm("200 R, frames of 240 B (ETB)", [*head, *_results(codes, "mmol/L"), "L|1|N"], 240)


def _chinese() -> Input:
    names = ["白细胞", "红细胞", "血红蛋白", "血小板", "葡萄糖", "蛋白", "酮体", "胆红素", "潜血", "比重"]
    words = ("弱阳性", "阴性", "阴性")
    results = [
        f"R|{number}|^^^U{number:02}^{names[number % 10]}|{words[number % 3]}|g/L||N||F||||20261123080100"
        for number in range(1, 41)
    ]
    head = ["H|\\^&|||尿液分析仪^检验科|||||||P|1394-97", "P|1||||张伟", "O|1|2611230007||^^^ALL|R"]
    return _astm("40 R in GBK, frames of 240 B", [*head, *results, "L|1|N"], 240, "gb18030")


def _oru(count: int) -> Input:
    head = [
        "MSH|^~\\&|Maker|Model|LIS|LAB|20261123080200||ORU^R01|7|P|2.3.1||||||UNICODE",
        "PID|1||7382^^^^MR||Example^Person||19870626000000|M",
        "PV1|1||Out^^",
        "OBR|1||2611230007|00001^Automated Count^99XXX||20261123075000|20261123080100|||||||20261123074500",
    ]
    results = [
        f"OBX|{number}|NM|{6690 + number}-2^{_COUNT[number % 41]}^LN||{number * 1.37:.2f}|10*9/L|4.00-10.00|"
        f"{'N' if number % 5 else 'H~A'}|||F|||20261123080100"
        for number in range(1, count + 1)
    ]
    return _hl7(f"ORU^R01, {count} OBX", [*head, *results])


def generated() -> list[Input]:
    return [_blood_count(), _two_hundred(), _chinese(), _oru(20), _oru(200)]


def captured() -> Iterator[Input]:
    """The largest ASTM or HL7 message of each capture, put on a line again."""
    for file in sorted(CAPTURES.glob("*/*")) if CAPTURES.is_dir() else ():
        messages = [each.payload for each in pieces(file.read_bytes()) if isinstance(each, Message)]
        found = max((each for each in messages if each[:1] in b"Hh" or each[:3] == b"MSH"), key=len, default=None)
        if found is None:
            continue
        found = found.rstrip(b"\r\n") + b"\r"  # the link gives each message its last line end
        name = f"capture {file.parent.name}"
        try:
            if found[:3] == b"MSH":
                made = _input(name, "hl7", found, [b"\x0b" + found + b"\x1c\r"])
            else:
                options = AstmOptions(one_record_per_frame=False, sent_text_limit=_LARGE)
                made = _input(name, "astm", found, cut_message(found, options))
        except LocalProtocolError as error:
            print(f"{name}: left out, {error}")
            continue
        if made.results >= 5:
            yield made
