"""`./xinglin new driver|service NAME`: the code of a new part with a test that passes and shows where to go on."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path
from string import Template

ROOT = Path(__file__).resolve().parents[1]
_NAME = re.compile(r"^[a-z][a-z0-9_]{1,40}$")

_DRIVER = Template('''"""$vendor $model.

Source: NAME THE DOCUMENT OR CAPTURE HERE. What it does not say stays generic: never invent a code.
"""

from __future__ import annotations

from typing import ClassVar

from protocols.${protocol}_driver import ${base}
from protocols.driver import Match, Status
from protocols.messages.${protocol} import ${reader}


class $class_name($base):
    id: ClassVar[str] = "$name"
    vendor: ClassVar[str] = "$vendor"
    models: ClassVar[tuple[str, ...]] = ("$model",)
    source: ClassVar[str] = "not named yet"
    status: ClassVar[Status] = Status.MANUAL

    def fingerprint(self, payload: bytes) -> Match:
        $sender
        if sender.startswith("$model"):
            return Match(1.0, f"the header names a {sender}")
        return Match(0.0, "the header names another instrument")
''')

_SENDER = {
    "astm": (
        "message = read_message(payload[:1024])\n"
        '        sender = message.header.component(5, 1) if message.header is not None else ""'
    ),
    "hl7": (
        "messages = read_messages(payload[:1024])\n"
        '        sender = messages[0].header.component(3, 1) if messages else ""'
    ),
}

_DIALOGUE = {
    "astm": Template(
        """# A first result as $vendor $model is expected to send it; replace it by what a bench shows.
device: <ENQ>
host: <ACK>
device: <STX>1H|\\^&|||$model^1.0|||||||P|E1394-97|20261102083000<CR>P|1<CR>O|1|202611020017||^^^GLU<CR>
  R|1|^^^GLU|5.2|mmol/L||N||F||||20261102082900<CR>L|1|N<CR><ETX><sum><CR><LF>
host: <ACK>
device: <EOT>
host:
"""
    ),
    "hl7": Template(
        """# A first result as $vendor $model is expected to send it; replace it by what a bench shows.
device: <VT>MSH|^~\\&|$model|$vendor|||20261102083000||ORU^R01|1|P|2.3.1||||||UNICODE<CR>PID|1<CR>
  OBR|1||202611020017<CR>OBX|1|NM|GLU||5.2|mmol/L|3.9-6.1|N|||F|||20261102082900<CR><FS><CR>
"""
    ),
}


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _write(path: Path, text: str) -> None:
    if path.exists():
        raise SystemExit(f"{path.relative_to(ROOT)} exists already")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(f"written: {path.relative_to(ROOT)}")


def new_driver(name: str, protocol: str, vendor: str, model: str) -> int:
    """The driver's file, its first transcript (both sides, made by running it) and the contract tests on them."""
    words = {
        "name": name,
        "class_name": _class_name(name),
        "protocol": protocol,
        "base": {"astm": "AstmDriver", "hl7": "Hl7Driver"}[protocol],
        "reader": {"astm": "read_message", "hl7": "read_messages"}[protocol],
        "sender": _SENDER[protocol],
        "vendor": vendor,
        "model": model,
    }
    _write(ROOT / "protocols" / "instruments" / f"{name}.py", _DRIVER.substitute(words))
    folder = ROOT / "tests" / "transcripts" / name / "results"
    _write(folder / "dialogue.txt", _DIALOGUE[protocol].substitute(words))
    _write(folder / "items.jsonl", "")
    # In a process of its own: the new file is found by discovery there.
    code = subprocess.run([sys.executable, "-m", "tools.approve", name], cwd=ROOT, check=False).returncode
    if code:
        return code
    print(f"Read {folder.relative_to(ROOT)}/items.jsonl: it is what the driver made of the dialogue; correct both.")
    subprocess.run([sys.executable, "-m", "tools.driver_table"], cwd=ROOT, check=False)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/contracts/test_driver_contract.py", "-k", name],
        cwd=ROOT,
        check=False,
    ).returncode


_SERVICE_FILES = {
    "__init__.py": Template('"""$title."""\n'),
    "routes.py": Template(
        '''"""Pages of $name on the phone."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from cloud.patient.identity.access import Patient
from cloud.web.pages import render

router = APIRouter(include_in_schema=False)


@router.get("/p/$name")
def first_page(request: Request, patient: Patient) -> Response:
    return render(request, "patient/$name/first.html", {"account": patient.subject})
'''
    ),
    "templates/first.html": Template(
        '{% extends "web/patient.html" %}\n{% block title %}{{ _("$title") }}{% endblock %}\n'
        '{% block content %}<p>{{ _("$title") }}</p>{% endblock %}\n'
    ),
    "locale/en/LC_MESSAGES/messages.po": Template(
        'msgid ""\nmsgstr ""\n"Language: en\\n"\n"Content-Type: text/plain; charset=utf-8\\n"\n\n'
        'msgid "$title"\nmsgstr "$english"\n'
    ),
}

_SERVICE_TEST = Template('''"""$english on the phone."""

from __future__ import annotations

from starlette.testclient import TestClient

from cloud.app import create_app


def test_${name}_asks_who_you_are(database: str) -> None:
    with TestClient(create_app(), follow_redirects=False) as phone:
        answer = phone.get("/p/$name")
    assert answer.status_code in (302, 303, 401)
''')


def new_service(name: str, title: str, english: str) -> int:
    """A patient service's folder and its test; says the two lines that must be added by hand."""
    words = {"name": name, "title": title, "english": english}
    for place, text in _SERVICE_FILES.items():
        _write(ROOT / "cloud" / "patient" / name / place, text.substitute(words))
    _write(ROOT / "tests" / "integration" / f"test_patient_{name}.py", _SERVICE_TEST.substitute(words))
    print(f'add "patient.{name}" to SLICES in cloud/app.py, and "{name}" beside "reports" in the contract')
    print('"patient services stand side by side above identity" of pyproject.toml')
    return 0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="xinglin new")
    kinds = parser.add_subparsers(dest="kind", required=True)
    driver = kinds.add_parser("driver", help="an analyzer family")
    driver.add_argument("name", help="vendor_model, the file's name")
    driver.add_argument("--from", dest="captures", nargs="+", type=Path, metavar="CAPTURE", help="make it from these")
    driver.add_argument("--protocol", choices=sorted(_SENDER), help="without a capture")
    driver.add_argument("--vendor")
    driver.add_argument("--model", help="how the instrument names itself in its header")
    service = kinds.add_parser("service", help="a patient service")
    service.add_argument("name")
    service.add_argument("--title", required=True, help="Chinese title of its page")
    service.add_argument("--english", required=True, help="the title in English")
    chosen = parser.parse_args(arguments)
    if not _NAME.match(chosen.name):
        parser.error(f"{chosen.name!r}: small letters, digits and _, starting with a letter")
    if chosen.kind == "driver" and chosen.captures:
        from tools import new_driver as made_from

        return made_from.create(ROOT, chosen.name, chosen.captures, chosen.vendor, chosen.model)
    if chosen.kind == "driver":
        missing = [each for each in ("protocol", "vendor", "model") if not getattr(chosen, each)]
        if missing:
            parser.error("without --from CAPTURE give " + ", ".join(f"--{each}" for each in missing))
        return new_driver(chosen.name, chosen.protocol, chosen.vendor, chosen.model)
    return new_service(chosen.name, chosen.title, chosen.english)
