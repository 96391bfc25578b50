"""The audit trail reads as sentences: whatever the code seals has a word for what was done and for what it was done to.

The code itself is asked, by its syntax tree: every `record(action=…, aggregate=(…))`, and for those that are handed the
action, every call that hands it. A new action without a word fails here, not on an auditor's screen.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from cloud.lis.critical.service import OUTCOMES
from cloud.lis.orders.model import OralState
from cloud.lis.reflex.rule import Act
from cloud.patient.registration.model import BookingState
from cloud.payments.wording import CASE_KINDS
from cloud.staff.trail_words import ACTIONS, KINDS
from cloud.web.i18n import gettext, use_language

CLOUD = Path(__file__).parents[2] / "cloud"


@cache
def _trees() -> dict[Path, ast.Module]:
    """Of the modules that seal anything."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(CLOUD.rglob("*.py"))}
    return {path: ast.parse(text) for path, text in texts.items() if "aggregate=" in text or "open_case(" in text}


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _constants(value: ast.expr | None) -> list[str]:
    """Every text that the expression may be, of those that the syntax tells."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return [value.value]
    if isinstance(value, ast.IfExp):
        return _constants(value.body) + _constants(value.orelse)
    return []


def _handed(tree: ast.Module, parameter: str, function: ast.FunctionDef) -> list[str]:
    """What the module's calls of `function` hand it as `parameter`, and what it is set to inside."""
    names = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
    found: list[str] = []
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and any(getattr(each, "id", "") == parameter for each in node.targets):
            found += _constants(node.value)
    for call in _calls(tree):
        if _name(call) != function.name:
            continue
        if parameter in names and names.index(parameter) < len(call.args):
            found += _constants(call.args[names.index(parameter)])
        found += [text for each in call.keywords if each.arg == parameter for text in _constants(each.value)]
    return found


def _sealed(what: str) -> dict[str, str]:
    """Actions (``action``) or kinds (``aggregate``) that the code seals, each with one place where it does."""
    found: dict[str, str] = {}
    for path, tree in _trees().items():
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            for call in _calls(function):
                given = {each.arg: each.value for each in call.keywords}
                if not {"action", "aggregate"} <= given.keys():
                    continue
                value = given[what]
                if isinstance(value, ast.Tuple):
                    value = value.elts[0]
                texts = _constants(value)
                if isinstance(value, ast.Name):
                    texts = _handed(tree, value.id, function)
                elif isinstance(value, ast.JoinedStr):
                    texts = _joined(tree, value, function)
                for text in texts:
                    found.setdefault(text, f"{path.relative_to(CLOUD.parent)}:{call.lineno}")
    return found


def _joined(tree: ast.Module, value: ast.JoinedStr, function: ast.FunctionDef) -> list[str]:
    """``f"booking.{after}"``: with what its calls hand it."""
    before, hole = value.values[0], value.values[1]
    if not (isinstance(before, ast.Constant) and isinstance(hole, ast.FormattedValue)):
        return []
    return [str(before.value) + each for each in _handed(tree, getattr(hole.value, "id", "?"), function)]


@pytest.mark.req("SEC-1")
def test_every_action_that_is_sealed_has_words() -> None:
    sealed = _sealed("action")
    assert len(sealed) > 200  # the code is read at all
    assert {action: place for action, place in sealed.items() if action not in ACTIONS} == {}


@pytest.mark.req("SEC-1")
def test_actions_named_after_a_state_have_words_too() -> None:
    ends = (BookingState.EXPIRED, BookingState.CANCELLING, BookingState.CANCELLED)
    named = [*(f"booking.{each}" for each in ends), *(f"reflex.{each}" for each in Act)]
    named += [f"order.oral_{each}" for each in (OralState.CONFIRMED, OralState.REFUSED)]
    named += [f"critical.{each}" for each in OUTCOMES]
    assert [each for each in named if each not in ACTIONS] == []


@pytest.mark.req("SEC-1")
def test_everything_that_is_sealed_of_has_a_name() -> None:
    kinds = _sealed("aggregate")
    assert len(kinds) > 50
    assert {kind: place for kind, place in kinds.items() if kind not in KINDS} == {}


@pytest.mark.req("PAY-6")
def test_every_case_about_money_has_words_and_says_what_to_do() -> None:
    kinds = {
        text
        for tree in _trees().values()
        for call in _calls(tree)
        if _name(call) == "open_case"
        for text in _constants(call.args[1] if len(call.args) > 1 else None)
    }
    assert len(kinds) > 10
    assert {kind for kind in kinds if kind not in CASE_KINDS} == set()


@pytest.mark.req("SEC-1")
def test_the_trails_words_are_there_in_english_too() -> None:
    words = {*ACTIONS.values(), *KINDS.values()}
    use_language("en")
    try:
        assert {word for word in words if gettext(word) == word} == set()
    finally:
        use_language(None)
