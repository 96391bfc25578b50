"""What the editor's form holds, as a definition, and back: one operand, parameter, limit or example on a line.

operand     CREA = CREA [mg/dL]            CREA = CREA within 48 h
parameter   ISI = 1.05 [s] ; source
limit       age >= 18[year] : what the report says
example     CREA=0.9, sex=F, age=55 -> 75.50 ; source
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from cloud.lis.calculation.formula import PERSON, SAME, Definition, Example, Fault, Limit, Operand, Parameter

_OPERAND = re.compile(
    r"^(?P<name>\w+)\s*(?:=\s*(?P<test>\w+))?\s*(?:\[(?P<unit>[^\]]*)\])?\s*(?:(?:within|±|≤)\s*(?P<hours>\d+)\s*h)?$",
    re.IGNORECASE,
)
_PARAMETER = re.compile(
    r"^(?P<name>\w+)\s*=\s*(?P<value>[^\[;]*?)\s*(?:\[(?P<unit>[^\]]*)\])?\s*(?:;\s*(?P<source>.*))?$"
)
_EXAMPLE = re.compile(r"^(?P<values>.*?)\s*(?:->|→)\s*(?P<expected>[^;]*?)\s*(?:;\s*(?P<source>.*))?$")
T = TypeVar("T")


def read_form(
    test: str, expression: str, operands: str, parameters: str, limits: str, examples: str
) -> tuple[Definition, list[Fault]]:
    """The definition, and the lines that cannot be read."""
    faults: list[Fault] = []
    definition = Definition(
        test.strip(),
        expression.strip(),
        _lines("operands", operands, _operand, faults),
        _lines("parameters", parameters, _parameter, faults),
        _lines("limits", limits, _limit, faults),
        _lines("examples", examples, _example, faults),
    )
    return definition, faults


def _lines(cell: str, text: str, read: Callable[[str], T | None], faults: list[Fault]) -> tuple[T, ...]:
    found: list[T] = []
    for number, line in enumerate(text.splitlines(), 1):
        plain = line.strip()
        if cell != "limits":  # the words of a limit keep their punctuation
            plain = plain.replace("；", ";").replace("，", ",").replace("＝", "=")
        if not plain:
            continue
        one = read(plain)
        if one is None:
            faults.append(Fault(cell, "table_line", {"line": str(number), "text": line.strip()[:60]}))
        else:
            found.append(one)
    return tuple(found)


def _operand(line: str) -> Operand | None:
    match = _OPERAND.match(line)
    if match is None:
        return None
    hours = int(match["hours"]) if match["hours"] else None
    scope = PERSON if hours else SAME
    return Operand(match["name"], match["test"] or match["name"], (match["unit"] or "").strip(), scope, hours)


def _parameter(line: str) -> Parameter | None:
    match = _PARAMETER.match(line)
    if match is None:
        return None
    return Parameter(
        match["name"], match["value"].strip(), (match["unit"] or "").strip(), (match["source"] or "").strip()
    )


def _limit(line: str) -> Limit | None:
    when, sign, say = line.replace("：", ":", 1).partition(":")
    return Limit(when.strip(), say.strip()) if sign else None


def _example(line: str) -> Example | None:
    match = _EXAMPLE.match(line)
    if match is None:
        return None
    values: dict[str, str] = {}
    for each in filter(None, (part.strip() for part in match["values"].split(","))):
        name, sign, value = each.partition("=")
        if not sign:
            return None
        values[name.strip()] = value.strip()
    sex, age = values.pop("sex", ""), values.pop("age", "")
    if age and not age.isdigit():
        return None
    expected = "" if match["expected"] in ("", "-", "—") else match["expected"]
    return Example(values, expected, sex, int(age) if age else None, (match["source"] or "").strip())


def written(definition: Definition) -> dict[str, str]:
    """The fields of the form."""
    return {
        "test": definition.test,
        "expression": definition.expression,
        "operands": "\n".join(_operand_line(each) for each in definition.operands),
        "parameters": "\n".join(_parameter_line(each) for each in definition.parameters),
        "limits": "\n".join(f"{each.when} : {each.say}" for each in definition.limits),
        "examples": "\n".join(_example_line(each) for each in definition.examples),
    }


def _operand_line(each: Operand) -> str:
    unit = f" [{each.unit}]" if each.unit else ""
    within = f" within {each.window_h} h" if each.window_h else ""
    return f"{each.name} = {each.test}{unit}{within}"


def _parameter_line(each: Parameter) -> str:
    unit = f" [{each.unit}]" if each.unit else ""
    source = f" ; {each.source}" if each.source else ""
    return f"{each.name} = {each.value}{unit}{source}"


def _example_line(each: Example) -> str:
    values = [f"{name}={value}" for name, value in each.values.items()]
    values += [f"sex={each.sex}"] if each.sex else []
    values += [f"age={each.age}"] if each.age is not None else []
    source = f" ; {each.source}" if each.source else ""
    return f"{', '.join(values)} -> {each.expected or '—'}{source}"
