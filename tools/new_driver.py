"""`./xinglin new driver NAME --from CAPTURE...`: the driver, its two-sided transcripts and its test from a capture.

It refuses a capture that a driver reads already. What it writes passes the contract suite, lint and types as written;
the person who asked completes the source, reads the free texts and corrects what the bench shows otherwise.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from string import Template

from protocols.driver import Driver, discover
from protocols.messages.astm import STANDARD, read_message
from protocols.model import Observation
from tools import text_driver_code
from tools.capture_cases import Capture, NewCase, NoDriver, cases, read_captures, undecoded
from tools.dialogue import NotWritable, write_case
from tools.driver_fingerprint import FAMILIES

_HEAD = Template('''"""$vendor $model.

Source: $source.
COMPLETE THIS: which instrument, which version, who captured it and when; then its document. What neither says stays
generic: never invent a code, a unit or a meaning.

$seen
"""

from __future__ import annotations

$imports

# Channels seen in the capture, with the unit as sent: what the laboratory maps to its tests.
$channels
$constants

class $class_name($base):
    id: ClassVar[str] = "$name"
    vendor: ClassVar[str] = "$vendor"
    models: ClassVar[tuple[str, ...]] = ("$model",)
    source: ClassVar[str] = (
$cited
    )
    status: ClassVar[Status] = Status.CAPTURED
$more
    def fingerprint(self, payload: bytes) -> Match:
$fingerprint
$methods''')

_TEST = Template('''"""What the capture of $vendor $model showed, by eye.

Correct a line where the bench shows otherwise.
"""

from __future__ import annotations

import pytest

from protocols.driver import discover
from protocols.model import Observation
from tests.support.transcripts import ROOT, read_case, replay

DRIVER = discover()["$name"]
CASE = read_case(ROOT / "$name" / "$case")

pytestmark = pytest.mark.req("GW-11")


def test_first_result_of_$name() -> None:
    items = [item for payload in replay(DRIVER, CASE).payloads for item in DRIVER.decode(payload).items]
    first = next(item for item in items if isinstance(item, Observation))
    assert (first.specimen, first.code, first.value) == ($specimen, $code, $value)
    assert (first.unit, first.flags) == ($unit, $flags)


def test_every_channel_of_the_capture_of_$name() -> None:
    items = [item for payload in replay(DRIVER, CASE).payloads for item in DRIVER.decode(payload).items]
    assert {item.code for item in items if isinstance(item, Observation)} == {
        $codes
    }
''')


def create(root: Path, name: str, files: Sequence[Path], vendor: str | None, model: str | None) -> int:
    """Writes all of it and runs its tests. 0: they pass; 2: no driver can be made of the capture."""
    try:
        known = Named(read_captures(files, kept=[model] if model else []), name, vendor, model, files)
        written = _write(root, known)
    except (NoDriver, NotWritable, OSError) as reason:
        print(reason, file=sys.stderr)
        return 2
    for warning in known.capture.warnings:
        print(f"note: {warning}")
    for item in undecoded(known.capture):
        print(f"note: not understood, {item.reason}: {item.text[:80]!r}")
    print(f"{known.capture.replaced} names and numbers were replaced by others of the same shape.")
    if known.capture.protocol == "text":
        print("Every line of a text is free: read the transcript before you commit, a line may name people.")
    if known.capture.free_texts:
        print("Read these free texts before you commit, they may name people:")
        for text in known.capture.free_texts[:40]:
            print(f"  {text[:100]!r}")
    _format(root, written)
    subprocess.run([sys.executable, "-m", "tools.driver_table"], cwd=root, check=False)
    tests = [str(path) for path in written if path.name.startswith("test_")]
    command = [sys.executable, "-m", "pytest", "-q", "tests/contracts/test_driver_contract.py", *tests, "-k", name]
    return subprocess.run(command, cwd=root, check=False).returncode


_BASES = {"astm": "AstmDriver", "hl7": "Hl7Driver", "poct1a": "Poct1aDriver", "text": "PrintoutDriver"}


class Named:
    """A capture with the words that the templates need."""

    def __init__(
        self, capture: Capture, name: str, vendor: str | None, model: str | None, files: Sequence[Path]
    ) -> None:
        self.capture = capture
        self.name = name
        digests = ", ".join(f"{file.name} ({hashlib.sha256(file.read_bytes()).hexdigest()[:12]})" for file in files)
        self.source = _quotable(f"capture {digests}")
        codes = list(dict.fromkeys(each.code for each in capture.observations))
        self.constants = self.members = self.methods = ""
        if capture.protocol == "text":
            self.fingerprint, found = text_driver_code.fingerprint(capture.payloads, model, codes)
            self.more_imports = [*text_driver_code.IMPORTS]
            self.more_imports.append(f"from protocols.links.text_framing import {capture.framing}")
            self.constants = text_driver_code.constants(codes)
            self.members = text_driver_code.members(capture.framing)
            self.methods = text_driver_code.METHODS
        else:
            self.fingerprint, found, self.more_imports = FAMILIES[capture.protocol](capture.payloads[0], model, codes)
        self.model = _quotable(model or found or name)
        self.vendor = _quotable(vendor or name.split("_")[0].capitalize())

    def driver(self) -> str:
        capture = self.capture
        base = _BASES[capture.protocol]
        imports = ["from typing import ClassVar\n", "from protocols.driver import Match, Status", *self.more_imports]
        if capture.protocol != "text":
            imports.append(f"from protocols.{capture.protocol}_driver import {base}")
        asks = capture.asks and capture.protocol == "astm"
        return _HEAD.substitute(
            name=self.name,
            class_name="".join(part.capitalize() for part in self.name.split("_")),
            vendor=self.vendor,
            model=self.model,
            source=textwrap.fill(self.source, 110),
            cited="\n".join(f'        "{line}"' for line in textwrap.wrap(self.source, 100, drop_whitespace=False)),
            seen="\n".join(_wrapped(line) for line in differences(capture)),
            imports="\n".join(imports),
            channels="\n".join(f"#   {line}" for line in channels(capture)),
            base=base,
            more="    answers_host_queries: ClassVar[bool] = True\n" if asks else self.members,
            constants=self.constants,
            methods=self.methods,
            fingerprint=textwrap.indent(self.fingerprint, " " * 8),
        )

    def test(self, case: NewCase, driver: Driver) -> str:
        codes, first = _results_of(case, driver)
        return _TEST.substitute(
            name=self.name,
            vendor=self.vendor,
            model=self.model,
            case=case.name,
            specimen=repr(first.specimen),
            code=repr(first.code),
            value=repr(first.value),
            unit=repr(first.unit),
            flags=repr(first.flags),
            codes="\n        ".join(f"{code!r}," for code in codes),
        )


def _quotable(text: str) -> str:
    return re.sub(r'["\\$\x00-\x1f]', "", text)


def _wrapped(line: str) -> str:
    return textwrap.fill(line, 116, initial_indent="* ", subsequent_indent="  ").replace("\\", "\\\\")


def _results_of(case: NewCase, driver: Driver) -> tuple[list[str], Observation]:
    from tests.support.transcripts import ROOT, read_case, replay

    payloads = replay(driver, read_case(ROOT / driver.id / case.name)).payloads
    items = [item for payload in payloads for item in driver.decode(payload).items]
    results = [item for item in items if isinstance(item, Observation)]
    return sorted({item.code for item in results}), results[0]


def _write(root: Path, known: Named) -> list[Path]:
    """All files or none: a capture that cannot be written as a dialogue leaves nothing behind."""
    source = root / "protocols" / "instruments" / f"{known.name}.py"
    test = root / "tests" / "unit" / f"test_driver_{known.name}.py"
    transcripts = root / "tests" / "transcripts" / known.name
    for path in (source, test, transcripts):
        if path.exists():
            raise NoDriver(f"{path.relative_to(root)} exists already")
    try:
        source.write_text(known.driver(), encoding="utf-8")
        importlib.invalidate_caches()
        discover.cache_clear()
        driver = discover()[known.name]
        made = cases(known.capture)
        for case in made:
            remark = f"From {known.source}; names and numbers are replaced. {_remark(case)}"
            write_case(transcripts / case.name, driver, case.chunks, case.orders, remark)
        results = next(case for case in made if case.name.startswith("results"))
        test.write_text(known.test(results, driver), encoding="utf-8")
    except BaseException:
        _remove(source, test, transcripts)
        raise
    for path in (source, test, *sorted(transcripts.iterdir())):
        print(f"written: {path.relative_to(root)}")
    return [source, test]


def _remark(case: NewCase) -> str:
    return "The order is ours." if case.orders else "Our side is written by the driver."


def _remove(*paths: Path) -> None:
    for path in paths:
        if path.is_dir():
            for each in sorted(path.rglob("*"), reverse=True):
                each.rmdir() if each.is_dir() else each.unlink()
            path.rmdir()
        elif path.exists():
            path.unlink()


def _format(root: Path, written: Sequence[Path]) -> None:
    for step in (["check", "-q", "--fix"], ["format", "-q"]):
        command = [sys.executable, "-m", "ruff", *step, *map(str, written)]
        subprocess.run(command, cwd=root, check=False)


# ---------------------------------------------------------------------- what the capture shows


def channels(capture: Capture) -> list[str]:
    """Code and units of each channel, in the order of the capture."""
    units: dict[str, list[str]] = {}
    for each in capture.observations:
        known = units.setdefault(each.code, [])
        if each.unit and each.unit not in known:
            known.append(each.unit)
    wide = min(max(len(code) for code in units), 40)
    return [f"{code:<{wide}}  {' or '.join(found) or '(no unit)'}"[:110].rstrip() for code, found in units.items()]


def differences(capture: Capture) -> list[str]:
    """What a person must look at first."""
    results = capture.observations
    flags = sorted({flag for each in results for flag in each.flags})
    found = [f"{len(capture.payloads)} messages, {len(results)} results on {len({r.code for r in results})} channels."]
    if capture.protocol == "astm":
        found += _of_astm(capture.payloads[0])
    if flags:
        found.append(f"Flags seen: {' '.join(flags)}. Write into flag_meanings what the document says they mean.")
    for word, missing in (
        ("a specimen", sum(1 for each in results if not each.specimen)),
        ("a time", sum(1 for each in results if not each.observed_at)),
        ("a unit", sum(1 for each in results if not each.unit)),
    ):
        if missing:
            found.append(f"{missing} of {len(results)} results are without {word}.")
    controls = sum(1 for each in results if each.qc is not None)
    found.append(f"{controls} results of control material." if controls else "No control material was recognised.")
    found += [f"Not understood: {item.reason}." for item in undecoded(capture)[:5]]
    return found


def _of_astm(payload: bytes) -> list[str]:
    message = read_message(payload)
    if message.header is None:
        return []
    found = []
    if message.header.delimiters != STANDARD:
        found.append(f"Delimiters of its own: {message.header.raw(2)} (the standard's are {STANDARD.definition()}).")
    vendor = [record.kind for record in message.records if record.kind not in "HPORCQMSL"]
    if vendor:
        found.append(f"Records of its own: {' '.join(sorted(set(vendor)))}.")
    return found
