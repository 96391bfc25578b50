"""The code of a new driver for an instrument that sends lines of text: what its capture shows, for a person to correct.

The capture gives the framing, the labels of results and the line that names the instrument; labels of the sample and
the date are the usual words until the engineer writes those of the instrument.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from string import Template

from protocols.driver import discover
from protocols.links.text import TextLink, TextOptions
from protocols.links.text_framing import SILENCE, STX_ETX, STX_ETX_BCC
from protocols.messages.charset import decode_text
from protocols.text_driver import heard

FRAMINGS = {"STX_ETX_BCC": STX_ETX_BCC, "STX_ETX": STX_ETX, "SILENCE": SILENCE}
IDLE_S = 3
_TITLE = re.compile(r"(?=(?:.*[^\W\d_]){5})[^:=]*$")
_LINES_LOOKED_AT = 8

_CONSTANTS = Template("""
_CODES = (
$codes
)
_LABELS = "|".join(re.escape(each) for each in sorted(_CODES, key=len, reverse=True))
_RESULT = re.compile(
    rf"\\s*(?P<mark>[*!]?)\\s*(?P<code>{_LABELS})(?!\\w)\\s*[:=]?\\s*"
    r"(?P<value>[<>]=?\\s*\\d[\\d.,]*|[-+]?\\d[\\d.,]*|[A-Za-z]+|\\+{1,4}|[-*.]{2,})"
    r"(?:\\s*(?P<unit>%|[^\\W\\d]+(?:/[\\w^]+)?|10[*^]\\d+/\\w+))?(?:\\s+(?P<flag>\\S+))?\\s*$$"
)
_SPECIMEN = re.compile(
    r"\\s*(?:sample|specimen|patient)?\\s*(?:id|no|number|barcode)\\b[. ]*[:=#]\\s*(\\S+)", re.IGNORECASE
)
_DATE = re.compile(r"\\s*(?:date|date/time|date & time|time)\\s*[:=]\\s*(\\S.*)$$", re.IGNORECASE)
""")

MEMBERS = Template("""    link_options: ClassVar[TextOptions] = TextOptions($options)
    personal: ClassVar[re.Pattern[str] | None] = re.compile(
        r"\\s*(?:patient\\s+)?(?:name|sex|gender|age|birth|dob)\\b", re.IGNORECASE
    )
    headings: ClassVar[re.Pattern[str] | None] = re.compile(r"\\s*[-=_*. ]{3,}\\s*$$")
""")

METHODS = '''
    def head(self, line: str, printed: Printed) -> bool:
        """The order of day and month is not known: the time stays as it is printed."""
        specimen, date = _SPECIMEN.match(line), _DATE.match(line)
        if specimen is not None:
            printed.specimen = specimen[1]
        elif date is not None:
            printed.date = date[1].strip()
        return specimen is not None or date is not None

    def result(self, line: str, printed: Printed) -> Observation | None:
        found = _RESULT.match(line)
        if found is None:
            return None
        value = found["value"].replace(" ", "")
        marks = (found["mark"], (found["flag"] or "").strip("()"))
        return Observation(
            specimen=printed.specimen,
            code=found["code"],
            value=value if value.strip("-*.") else None,
            unit=found["unit"],
            flags=tuple(each for each in marks if each),
        )
'''

IMPORTS = (
    "import re",
    "from protocols.links.text import TextOptions",
    "from protocols.model import Observation",
    "from protocols.text_driver import Printed, PrintoutDriver",
)


def framed(data: bytes) -> tuple[str, list[bytes]]:
    """The framing under which all texts of a captured line are whole, and those texts; silence where there is none."""
    for name in ("STX_ETX_BCC", "STX_ETX"):
        texts = heard(TextLink(TextOptions(FRAMINGS[name])), data)
        if texts and len(texts) == data.count(b"\x02"):
            return name, texts
    bare = discover()["generic_text"].split(data) or ()
    return "SILENCE", [text.strip() + b"\r\n" for text in bare]


def constants(codes: Sequence[str]) -> str:
    return _CONSTANTS.substitute(codes="\n".join(f"    {code!r}," for code in codes))


def members(framing: str) -> str:
    silent = f', accept=b"", refuse=b"", idle_end_s={IDLE_S}.0' if framing == "SILENCE" else ""
    return MEMBERS.substitute(options=framing + silent)


def fingerprint(payloads: Sequence[bytes], model: str | None, codes: Collection[str]) -> tuple[str, str]:
    """Body of the method and the model's name: the line that names the instrument, else its labels."""
    title = model if model and all(model.encode() in each[:400] for each in payloads) else _title(payloads)
    if title is not None:
        body = f"""if {title!r} in self.characters(payload[:400])[0]:
    return Match(0.9, {f"the text names {title}"!r})
return Match(0.0, "the text names another instrument, or none")"""
        return body, title
    body = """codes = {item.code for item in self.decode(payload).items if isinstance(item, Observation)}
if len(codes) * 2 > len(_CODES):
    return Match(0.4, "most of the labels of its capture; the text names no instrument")
return Match(0.0, "not the labels of its capture")"""
    return body, model or ""


def _title(payloads: Sequence[bytes]) -> str | None:
    """A line near the top of every text that is neither a label with a value nor a number."""
    tops = []
    for payload in payloads:
        lines = [line.strip(" *-=_\t") for line in decode_text(payload)[0].splitlines() if line.strip()]
        tops.append([line for line in lines[:_LINES_LOOKED_AT] if _TITLE.match(line)])
    return next((line for line in tops[0] if all(line in other for other in tops)), None)
