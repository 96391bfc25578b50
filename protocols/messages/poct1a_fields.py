"""What the elements of a POCT1-A document say, as text: fields that have no place of their own in an observation.

Left out knowingly: name, birth date and sex of the patient, and a password.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

from protocols.messages.poct1a import Element
from protocols.model import Attachment

_PERSONAL = ("PT.name", "PT.birth_date", "PT.gender_cd", "ACC.password")
_STANDARD_OBJECTS = ("SVC", "OBS", "DEV", "DST", "DCP", "DSC", "ACK", "ESC", "EOT", "EVT", "TRM", "REQ")


def said(elements: Iterable[Element]) -> list[str]:
    """Every field below `elements` as "name=value", units and other attributes beside it."""
    found: list[str] = []
    for top in elements:
        waiting = [top]
        while waiting:
            element = waiting.pop()
            if element.name in _PERSONAL or (element.name == "OBS" and element is not top):
                continue
            text = _field_text(element)
            if text:
                found.append(f"{short(element.name)}={text}")
            waiting += reversed(element.children)
    return found


def _field_text(element: Element) -> str:
    parts = [element.value, element.attributes.get("U", ""), element.text.strip()]
    others = [f"{key}={value}" for key, value in element.attributes.items() if key not in ("V", "U", "SN", "SV", "DN")]
    shown = element.attributes.get("DN", "").strip()
    return " ".join(filter(None, (*parts, f"({shown})" if shown else "", *others)))


def short(name: str) -> str:
    """A field without the name of the object it stands in, where that is one of the standard's."""
    prefix, _, rest = name.partition(".")
    return rest if rest and prefix in _STANDARD_OBJECTS else name


def notes(element: Element) -> list[str]:
    """The texts of the notes directly below."""
    found = []
    for note in element.all("NTE"):
        found += [_field_text(each) for each in note.walk() if _field_text(each)]
    return found


def reference_range(text: str) -> str | None:
    """``[4;11.5]`` as 4-11.5; an open end or anything else as it was sent."""
    low, separator, high = text[1:-1].partition(";")
    closed = text[:1] == "[" and text[-1:] == "]" and separator
    plain = closed and all(bound.strip() and not bound.strip().startswith("-") for bound in (low, high))
    return f"{low.strip()}-{high.strip()}" if plain else text or None


def picture(element: Element) -> Attachment | None:
    """An element whose text is declared base64 (ENC="B64")."""
    if element.attributes.get("ENC", "").upper() not in ("B64", "BASE64"):
        return None
    try:
        data = base64.b64decode("".join(element.text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    return Attachment(element.value or short(element.name), "application/octet-stream", data)
