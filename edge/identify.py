"""`edge identify`: what an unknown line is, from captured files or by listening, and its section for the box (GW-13).

Files of one line carry the setting they were heard at in their names (``x.9600-8N1.bin``, as `--save` writes them);
those without are judged each by itself. Exit 0: something is proposed; 1: nothing heard makes sense; 2: a file or port
cannot be opened.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.config import AUTO
from edge.decode import captured
from edge.listening import Clock, Opener, TtyEar, dialled, listen, listened, walk
from edge.terminal import columns, json_line, write_line
from protocols.identify_line import PLAUSIBLE, Hearing, Proposal, hear, propose
from protocols.identify_samples import LineSetting, Sample, read_setting

_EXAMPLE_DEVICE = "/dev/ttyUSB0"
_EXAMPLE_PORT = 5001
_EXAMPLE_FOLDER = "/var/lib/xinglin/results"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a line was heard: what its section in the configuration says besides rate and parity."""

    name: str
    device: str | None = None
    listen_port: int | None = None
    dial_host: str | None = None
    dial_port: int | None = None


def identify_files(files: Sequence[Path], *, as_json: bool = False) -> int:
    failed = False
    serial: list[Hearing] = []
    lines: list[tuple[Place, list[Hearing]]] = []
    for name, content in captured(files):
        if isinstance(content, OSError):
            sys.stderr.write(f"{name}: {content.strerror or content}\n")
            failed = True
            continue
        setting = read_setting(name) or LineSetting()
        hearing = hear(Sample(content, setting))
        if setting.baud_rate is None:
            lines.append((Place(name), [hearing]))
        else:
            serial.append(hearing)
    if serial:
        lines.append((Place("serial line"), serial))
    known = [report(place, hearings, as_json=as_json) for place, hearings in lines]
    return 2 if failed else 0 if known and all(known) else 1


def identify_tty(
    device: Path,
    seconds: float,
    *,
    answers: bool = False,
    save: Path | None = None,
    as_json: bool = False,
    opener: Opener | None = None,
    clock: Clock = time.monotonic,
) -> int:
    """Walks over the rates and parities, listening `seconds` at each."""
    open_at = opener or (lambda setting: TtyEar(device, setting))
    hearings: list[Hearing] = []
    try:
        for hearing in walk(open_at, seconds, answers=answers, clock=clock):
            hearings.append(hearing)
            sys.stderr.write(f"{hearing.sample.setting}: {len(hearing.sample.data)} bytes, {hearing.score:.2f}\n")
            keep(save, device.name, hearing)
    except (OSError, ValueError) as problem:
        sys.stderr.write(f"{device}: {problem}\n")
        return 2
    return 0 if report(Place(str(device), device=str(device)), hearings, as_json=as_json) else 1


def identify_tcp(
    place: Place, seconds: float, *, answers: bool = False, save: Path | None = None, as_json: bool = False
) -> int:
    """One connection, to or from the instrument, for `seconds` at the most."""
    try:
        if place.listen_port is not None:
            ear = listened("0.0.0.0", place.listen_port, seconds)  # noqa: S104 - instruments are on the bench's network
        else:
            ear = dialled(place.dial_host or "", place.dial_port or 0, seconds)
    except OSError as problem:
        sys.stderr.write(f"{place.name}: {problem.strerror or problem}\n")
        return 2
    if ear is None:
        sys.stderr.write(f"{place.name}: nobody connected within {seconds:.0f} s\n")
        return 1
    try:
        hearing = listen(ear, LineSetting(), seconds, answers=answers, clock=time.monotonic)
    finally:
        ear.close()
    keep(save, "tcp", hearing)
    return 0 if report(place, [hearing], as_json=as_json) else 1


def keep(folder: Path | None, name: str, hearing: Hearing) -> None:
    """What was heard, byte for byte, in a file whose name says at which setting; never over an older one."""
    if folder is None or not hearing.sample.data:
        return
    folder.mkdir(parents=True, exist_ok=True)
    setting = str(hearing.sample.setting).replace(" ", "-")
    number = 1
    while True:
        try:
            with (folder / f"{name}-{number}.{setting}.bin").open("xb") as file:
                file.write(hearing.sample.data)
            return
        except FileExistsError:
            number += 1


def report(place: Place, hearings: Sequence[Hearing], *, as_json: bool = False) -> bool:
    """Prints what the line is taken for; False when nothing heard makes sense."""
    proposals = propose(hearings)
    known = bool(proposals) and proposals[0].score >= PLAUSIBLE
    if as_json:
        write_line(json_line(_as_json(place, hearings, proposals, known)))
        return known
    write_line(f"{place.name}:")
    rows = [["heard at", "bytes", "score", "what"]]
    for each in hearings:
        heard_at = str(each.sample.setting) if each.sample.setting.baud_rate else "-"
        rows.append([heard_at, str(len(each.sample.data)), f"{each.score:.2f}", each.reason])
    for line in columns(rows):
        write_line(line)
    write_line("")
    if not known:
        write_line(_advice(hearings))
        return False
    best = proposals[0]
    found = [["", "proposed", "score", "why"]]
    for name, finding in best.findings().items():
        value = "not known" if finding.value is None else str(finding.value)
        found.append([name, value, f"{finding.score:.2f}", finding.reason])
    for line in columns(found):
        write_line(line)
    write_line(
        "\nThe line's section for the box's configuration (`edge check` tells whether the whole file is right):\n"
    )
    for line in stanza(place, best).splitlines():
        write_line(line)
    return True


def _advice(hearings: Sequence[Hearing]) -> str:
    if not any(each.sample.data for each in hearings):
        return "Nothing was heard: send a result from the instrument while listening, and look at the cable."
    return "Nothing that was heard makes sense: listen longer while the instrument sends a result; keep it with --save."


def stanza(place: Place, proposal: Proposal) -> str:
    """The `[[links]]` section of the box's configuration that serves this line."""
    driver = proposal.driver.value or AUTO
    lines = ["[[links]]", 'id = "new-line"  # a name of your own', f'driver = "{driver}"', "[links.port]"]
    setting = proposal.setting
    if proposal.protocol.value == "file":
        lines += ['kind = "file_drop"', f"folder = {_quoted(_EXAMPLE_FOLDER)}  # where the program writes its results"]
    elif setting.baud_rate is not None or place.device is not None:
        remark = "" if place.device else "  # the line's device"
        lines += [
            'kind = "serial"',
            f"device = {_quoted(place.device or _EXAMPLE_DEVICE)}{remark}",
            f"baud_rate = {setting.baud_rate or 9600}",
            f"data_bits = {setting.data_bits}",
            f'parity = "{setting.parity}"',
            f"stop_bits = {setting.stop_bits}",
        ]
    elif place.dial_host is not None:
        lines += ['kind = "tcp_dial"', f"host = {_quoted(place.dial_host)}", f"port = {place.dial_port}"]
    else:
        remark = "" if place.listen_port else "  # how is it attached? this is a TCP port that it connects to"
        lines += ['kind = "tcp_listen"', f"port = {place.listen_port or _EXAMPLE_PORT}{remark}"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text)  # a JSON string is a TOML string


def _as_json(place: Place, hearings: Sequence[Hearing], proposals: Sequence[Proposal], known: bool) -> dict[str, Any]:
    return {
        "line": place.name,
        "recognised": known,
        "heard": [
            {
                "setting": str(each.sample.setting),
                "baud_rate": each.sample.setting.baud_rate,
                "bytes": len(each.sample.data),
                "broken": None if each.sample.broken is None else len(each.sample.broken),
                "score": round(each.score, 3),
                "reason": each.reason,
            }
            for each in hearings
        ],
        "proposals": [_proposal_as_json(each) for each in proposals],
        "toml": stanza(place, proposals[0]) if known else None,
    }


def _proposal_as_json(proposal: Proposal) -> dict[str, Any]:
    findings = {
        name.replace(" ", "_"): {"value": each.value, "score": round(each.score, 3), "reason": each.reason}
        for name, each in proposal.findings().items()
    }
    return {"score": round(proposal.score, 3), **findings}
