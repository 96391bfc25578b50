"""Takes people out of a captured message: names and numbers become others of the same shape, alike everywhere.

What stands in a field for a person, a specimen, an operator, a doctor or a serial number is replaced where the fields
of ASTM, HL7 and POCT1-A put it, and in every other place where the same value stands again. Replacements are numbered,
not computed from the value, so that nobody can compute back. Free text is listed: a person must read it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection

_BIRTH = "19700101"
_NAMES = "某甲乙丙丁戊己庚辛"
_TELLING = 4
"""Letters and digits from which a specimen number or a name can point at somebody."""
_EVERYWHERE = 5
"""Length from which a replaced value is replaced also where it stands in other fields; words from 4, Chinese from 2."""
_SERIAL = re.compile(r"(?=(?:.*\d){5})\w{5,}")
_PERSONS = ("P", "PID", "NK1", "GT1")
_SHORT_NAME = 2
_PERSONAL_LINE = re.compile(
    r"^(\s*(?:patient|name|surname|doctor|physician|operator|address|birth|dob|姓名|病人|患者|医生|操作)[^:：=]*[:：=]\s*)(.+)$",
    re.IGNORECASE,
)
_LONG_NUMBER = re.compile(r"(?<![\d.])\d{7,}(?![\d.])")
_ELEMENT = re.compile(
    r"(<(PT\.(?!gender)[\w.-]+|OPR\.[\w.-]+|[A-Z]{2,4}\.serial_id|DEV\.device_id)\b[^>]*?\bV\s*=\s*\")([^\"]*)(\")"
)

_ASTM: dict[str, tuple[int, ...]] = {
    "P": (3, 4, 5, 6, 7, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 33, 34, 35),
    "O": (3, 4, 11, 17, 18, 19, 20),
    "Q": (3, 4),
    "R": (11, 14),
    "H": (4, 6, 8),
}
_HL7: dict[str, tuple[int, ...]] = {
    "PID": (2, 3, 4, 5, 6, 9, 10, 11, 13, 14, 15, 18, 19, 20, 21, 23),
    "NK1": tuple(range(2, 16)),
    "GT1": tuple(range(2, 22)),
    "IN1": tuple(range(2, 40)),
    "PV1": (3, 7, 8, 9, 17, 19),
    "ORC": (2, 3, 4, 10, 11, 12, 14, 19),
    "OBR": (2, 3, 10, 16, 17, 28, 32, 33, 34, 35),
    "SPM": (2, 3),
    "SAC": (3, 4),
    "QRD": (8,),
    "QPD": (3, 4, 5),
    "DSP": (3,),
    "OBX": (16, 18),
}
_FREE_TEXT = {"astm": "C", "hl7": "NTE"}


class Anonymiser:
    """One for all messages of an instrument, so that one specimen stays one specimen."""

    def __init__(self) -> None:
        self._replaced: dict[str, str] = {}
        self.free_texts: list[str] = []

    @property
    def count(self) -> int:
        """How many different values were replaced."""
        return sum(1 for value, other in self._replaced.items() if value != other)

    def message(self, text: str, protocol: str, *, kept: Collection[str] = ()) -> str:
        """`text` of one message; `kept` are values (the model's name) that stay."""
        for value in kept:
            self._replaced[value] = value
        step: dict[str, Callable[[str], str]] = {"astm": self._astm, "hl7": self._hl7, "poct1a": self._poct1a}
        return self._again(step.get(protocol, self._printed)(text))

    def other(self, value: str) -> str:
        """The replacement of `value`: letters for letters, digits for digits, all else as it is."""
        core = value.strip()
        if core not in self._replaced:
            dice = random.Random(f"number {len(self._replaced) + 1}")  # noqa: S311 - never from the value itself
            self._replaced[core] = "".join(_like(each, dice) for each in core)
        return value.replace(core, self._replaced[core]) if core else value

    # ------------------------------------------------------------------ families

    def _astm(self, text: str) -> str:
        lines = re.split(r"([\r\n]+)", text)
        field, inner = "|", "^\\"
        for place, line in enumerate(lines):
            kind = line[:1].upper()
            if kind == "H" and line[1:2] and not line[1].isalnum():
                field, inner = line[1], line[2:].split(line[1], 1)[0]
            fields = line.split(field)
            for number in _ASTM.get(kind, ()):
                if number <= len(fields):
                    fields[number - 1] = self._parts(fields[number - 1], inner, self._rule(kind, number))
            if kind == "P" and len(fields) > 7 and fields[7].strip():
                fields[7] = _BIRTH[: len(fields[7])] if fields[7].isdigit() else _BIRTH
            if kind == "H" and len(fields) > 4:
                fields[4] = self._sender(fields[4], inner)
            if kind == _FREE_TEXT["astm"] and len(fields) > 3 and fields[3].strip():
                self.free_texts.append(fields[3])
            lines[place] = field.join(fields)
        return "".join(lines)

    def _sender(self, name: str, inner: str) -> str:
        """Serial numbers behind the model's name, and the name of a house before it."""
        parts = re.split(f"([{re.escape(inner)}])", name)
        return "".join(self.other(part) if _is_serial(part) else part for part in parts)

    def _hl7(self, text: str) -> str:
        lines = re.split(r"([\r\n]+)", text)
        field, inner = "|", "^~\\&"
        for place, line in enumerate(lines):
            name = line[:3]
            if name == "MSH":
                field, inner = line[3:4], line[4:].split(line[3:4], 1)[0]
                continue
            fields = line.split(field)
            for number in _HL7.get(name, ()):
                if number < len(fields):
                    fields[number] = self._parts(fields[number], inner, self._rule(name, number))
            if name == "PID" and len(fields) > 7 and fields[7].strip():
                fields[7] = _BIRTH + "000000"[: max(len(fields[7]) - 8, 0)]
            if name == _FREE_TEXT["hl7"] and len(fields) > 3 and fields[3].strip():
                self.free_texts.append(fields[3])
            lines[place] = field.join(fields)
        return "".join(lines)

    def _parts(self, content: str, inner: str, tells: Callable[[str], bool]) -> str:
        parts = re.split(f"([{re.escape(inner)}])", content)
        return "".join(self.other(part) if tells(part) else part for part in parts)

    def _rule(self, record: str, number: int) -> Callable[[str], bool]:
        """What in this field must go."""
        if (record, number) in (("R", 14), ("OBX", 18)):
            return _is_serial
        shortest = _SHORT_NAME if record in _PERSONS else _TELLING
        return lambda part: _names_somebody(part, shortest)

    def _poct1a(self, text: str) -> str:
        def replaced(match: re.Match[str]) -> str:
            if "birth" in match[2]:
                return f"{match[1]}1970-01-01{match[4]}"
            return match[1] + self._parts(match[3], "^ ", lambda part: _names_somebody(part, _SHORT_NAME)) + match[4]

        self.free_texts += re.findall(r"<NTE\.text\b[^>]*\bV\s*=\s*\"([^\"]+)\"", text)
        return _ELEMENT.sub(replaced, text)

    def _printed(self, text: str) -> str:
        """Lines that say whose they are, and long numbers; every line is free text."""
        lines = re.split(r"([\r\n]+)", text)
        for place, line in enumerate(lines):
            personal = _PERSONAL_LINE.match(line)
            if personal is not None:
                line = personal[1] + self.other(personal[2])
            lines[place] = _LONG_NUMBER.sub(lambda match: self.other(match[0]), line)
        return "".join(lines)

    def _again(self, text: str) -> str:
        """Where a replaced value stands again: a name in a comment."""
        known = [each for each, other in self._replaced.items() if each != other and _stands_out(each)]
        if not known:
            return text
        pattern = "|".join(_bounded(each) for each in sorted(known, key=len, reverse=True))
        return re.sub(pattern, lambda match: self._replaced[match[0]], text)


def _stands_out(value: str) -> bool:
    if any(ord(each) > 0x2E7F for each in value):
        return len(value) >= _SHORT_NAME
    return len(value) >= (_TELLING if value.isalpha() else _EVERYWHERE)


def _bounded(value: str) -> str:
    """Whole words only, where a script has words."""
    written = re.escape(value)
    return written if any(ord(each) > 0x2E7F for each in value) else rf"(?<!\w){written}(?!\w)"


def _is_serial(part: str) -> bool:
    return _SERIAL.fullmatch(part.strip()) is not None


def _names_somebody(part: str, shortest: int = _TELLING) -> bool:
    signs = [each for each in part if each.isalnum()]
    return len(signs) >= shortest or any(ord(each) > 0x2E7F for each in signs)


def _like(character: str, dice: random.Random) -> str:
    if character.isdigit():
        return "0" if character == "0" else dice.choice("123456789")
    if "a" <= character <= "z":
        return dice.choice("abcdefghijklmnopqrstuvwxyz")
    if "A" <= character <= "Z":
        return dice.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    if ord(character) > 0x2E7F and character.isalpha():
        return dice.choice(_NAMES)
    return "x" if character.isalpha() else character
