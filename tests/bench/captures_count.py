"""What captured files hold, counted by a plain split: nothing of the project is known or imported here.

Run alone it prints a JSON object by file: ``python tests/bench/captures_count.py FOLDER``. For each file: the SHA-256
of its bytes, the format by its look, how many results it holds and how many of them with a unit, with a flag, of
control material; how many queries. A result is R of ASTM, OBX of HL7, OBS of POCT1-A, a `mtrsl` record of a mini VIDAS,
a filled cell under a heading that names a measurement in the table of a FACSCalibur.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path

COUNTED = ("results", "units", "flags", "controls", "queries")
_EMPTY_CELLS = {"", "."}
_MEASUREMENT = re.compile(r"%|Abs Cnt$|Ratio$| Events$|\(x1000\)$|^Lymphosum$")


def count(data: bytes) -> dict[str, object]:
    """One file's counts."""
    text = data.decode("latin-1")
    if "MSH|" in text:
        held = _hl7(text)
    elif "mtrsl|" in text:
        held = _mini_vidas(text)
    elif text.lstrip().startswith("<"):
        held = _poct1a(text)
    elif text.split("\n", 1)[0].count("\t") > 20:
        held = _table(text)
    elif re.search(r"(^|[\r\n\x02]|\x021)H[^A-Za-z0-9]", text):
        held = _astm(text)
    else:
        held = {"format": "none"}
    numbers = {name: held.get(name, 0) for name in COUNTED}
    return {"sha256": hashlib.sha256(data).hexdigest(), "format": held["format"], **numbers}


def _astm(text: str) -> dict[str, object]:
    """Frames are undone: a record cut by ETB is joined, what frames begin and end with is left out."""
    text = re.sub(r"\x17[0-9A-Fa-f]{2}\r?\n?\x02[0-7]", "", text)
    held = dict.fromkeys(COUNTED, 0)
    separator = "|"
    control_message = control_order = False
    for line in re.split(r"[\r\n]+", text):
        line = re.sub(r"^[\x00-\x1f]*[0-7]?(?=[HPORCQLM][^A-Za-z0-9])", "", line)
        kind, fields = line[:1], line.split(separator)
        if kind == "H":
            separator = line[1]
            fields = line.split(separator)
            control_message = len(fields) > 11 and fields[11].strip() == "Q"
            control_order = False
        elif kind == "O" and len(fields) > 1:
            control_order = len(fields) > 11 and fields[11].strip() == "Q"
        elif kind == "R" and len(fields) > 3:
            held["results"] += 1
            held["units"] += bool(fields[4].strip()) if len(fields) > 4 else 0
            held["flags"] += bool(fields[6].strip()) if len(fields) > 6 else 0
            held["controls"] += control_message or control_order
        elif kind == "Q" and len(fields) > 2:
            held["queries"] += 1
    return {"format": "ASTM", **held}


def _hl7(text: str) -> dict[str, object]:
    held = dict.fromkeys(COUNTED, 0)
    control_message = control_order = False
    for line in re.split(r"[\r\n]+", text):
        fields = line.lstrip("\x0b").split("|")
        name = fields[0]
        if name == "MSH":
            control_message = len(fields) > 10 and fields[10] == "Q"
        elif name == "OBR":
            control_order = len(fields) > 15 and fields[15].split("^")[6:7] == ["Q"]
        elif name == "OBX":
            held["results"] += 1
            held["units"] += bool(fields[6].strip()) if len(fields) > 6 else 0
            held["flags"] += bool(fields[8].strip("~ ")) if len(fields) > 8 else 0
            held["controls"] += control_message or control_order
        elif name in ("QRD", "QPD"):
            held["queries"] += 1
    return {"format": "HL7", **held}


def _poct1a(text: str) -> dict[str, object]:
    results = re.findall(r"<OBS>.*?</OBS>", text, re.DOTALL)
    units = [each for each in results if re.search(r'<OBS\.value [^>]*U="[^"]+"', each)]
    flags = [each for each in results if re.search(r'<OBS\.interpretation_cd [^>]*V="[^"]+"', each)]
    control = re.search(r'<SVC\.role_cd V="(LQC|EQC|CVR|PRF)"', text)
    return {
        "format": "POCT1-A",
        "results": len(results),
        "units": len(units),
        "flags": len(flags),
        "controls": len(results) if control else 0,
    }


def _mini_vidas(text: str) -> dict[str, object]:
    """One record is one result; its call (`ql`) stands beside the number (`qn`) as a flag does."""
    records = re.findall(r"mtrsl\|[^\x03\x1d]*", text)
    both = [each for each in records if re.search(r"\|\x1e?ql[^|]", each) and re.search(r"\|\x1e?qn[^|]", each)]
    return {"format": "mini VIDAS", "results": len(records), "flags": len(both)}


def _table(text: str) -> dict[str, object]:
    heading, *rows = (line.split("\t") for line in text.splitlines() if line.strip())
    measured = [number for number, name in enumerate(heading) if _MEASUREMENT.search(name.strip())]
    cells = [row[number].strip() for row in rows for number in measured if number < len(row)]
    return {"format": "table", "results": sum(1 for cell in cells if cell not in _EMPTY_CELLS)}


def files_of(folder: Path) -> list[Path]:
    """Every captured file; the folder's README is none."""
    return sorted(each for each in folder.rglob("*") if each.is_file() and each.name != "README.md")


def main(folder: Path) -> int:
    held = {str(each.relative_to(folder)): count(each.read_bytes()) for each in files_of(folder)}
    sys.stdout.write(json.dumps(held, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
