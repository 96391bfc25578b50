"""Patients' data are reached only through `visible_to(subject)` (must 9): every other way is found in the source.

Watched: (1) outside the people slice, a function that reads its tables asks the door (calls `visible_to` or hands the
subject on), or stands in `BEHIND_A_DOOR` with its reason. (2) In the patient slices every function that reads a table
or calls a verb that carries patients does so too. (3) A staff module that answers HTTP and reads such tables asks the
door somewhere. (4) Every page under /p asks who is signed in.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

import cloud

ROOT = Path(cloud.__file__).parent

PERSON_TABLES = {"Person", "PersonIdentifier", "PersonVersion", "PersonLink", "PersonGrant"}
PATIENT_TABLES = PERSON_TABLES | {
    "Order",
    "OrderItem",
    "Specimen",
    "SpecimenEvent",
    "Result",
    "UnmatchedResult",
    "Report",
    "ReportVersion",
    "CriticalCase",
}
QUERIES = {"select", "get", "get_one", "query", "exists", "scalars", "scalar", "refresh"}
INNER_DOORS = {"released", "pdf", "versions", "person_by_id"}
"""Verbs of lower slices that give a patient's data to whoever asks."""

BEHIND_A_DOOR = {
    "patient/reports/jobs.py:push": "the job of a stored fact; tells only accounts that `holders` names",
    "patient/reports/jobs.py:report_recalled": "the job of a stored fact; tells only accounts that `holders` names",
    "lis/orders/lookup.py:numbers_of": "numbers of persons whom the caller was shown by `orders` or `patients`",
    "lis/reports/content.py:_mrn": "freezes what a released report prints; no reader is there yet",
    "patient/reports/service.py:open_pdf": "after `open_report`, which asks `visible_to`",
}


@dataclass(frozen=True)
class Finding:
    place: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"cloud/{self.place} line {self.line}: {self.what}"


def name_of(node: ast.expr) -> str:
    """The last name of what is called: ``select``, ``session.get`` → ``get``."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def calls(node: ast.AST) -> Iterator[ast.Call]:
    return (each for each in ast.walk(node) if isinstance(each, ast.Call))


def tables_named(call: ast.Call) -> set[str]:
    """Tables among a call's own arguments (``select(Report.id)``, ``get(Person, key)``), not in nested calls."""
    found = set()
    for argument in call.args:
        node = argument.value if isinstance(argument, ast.Attribute) else argument
        if isinstance(node, ast.Name):
            found.add(node.id)
    return found


def queries_on(node: ast.AST, tables: set[str]) -> list[ast.Call]:
    return [each for each in calls(node) if name_of(each.func) in QUERIES and tables_named(each) & tables]


def asks_the_door(node: ast.AST) -> bool:
    """Calls `visible_to`, or hands a subject on to what does (``patient.subject``, ``Subject.staff(..)``)."""
    for call in calls(node):
        if name_of(call.func) == "visible_to":
            return True
        for given in [*call.args, *(each.value for each in call.keywords)]:
            if name_of(given) == "subject":
                return True
            if isinstance(given, ast.Call) and ast.unparse(given.func).startswith("Subject."):
                return True
    return False


def ways_around(source: str, place: str, tables: set[str] = PATIENT_TABLES) -> list[Finding]:
    """Functions of a module that reach patients without asking."""
    found = []
    for function in functions(ast.parse(source)):
        where = f"{place}:{function.name}"
        if where in BEHIND_A_DOOR or asks_the_door(function):
            continue
        for call in queries_on(function, tables):
            found.append(Finding(where, call.lineno, f"query on {sorted(tables_named(call) & tables)}"))
        if place.startswith("patient/"):
            for call in calls(function):
                if name_of(call.func) in INNER_DOORS and isinstance(call.func, ast.Attribute):
                    found.append(Finding(where, call.lineno, f"calls {name_of(call.func)}"))
    return found


def modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if "migrations" not in path.parts)


def place_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def sources(*starts: str) -> Iterator[tuple[str, str]]:
    """Place and source of the modules whose place starts with one of these."""
    return ((place_of(path), path.read_text()) for path in modules() if place_of(path).startswith(starts or ("",)))


def told(found: list[Finding]) -> str:
    return "patients' data without visible_to:\n" + "\n".join(map(str, found))


@pytest.mark.req("SEC-1")
def test_nobody_but_the_people_slice_reads_its_tables_without_asking_the_door() -> None:
    found = [
        each
        for place, source in sources()
        if not place.startswith("people/")
        for each in ways_around(source, place, PERSON_TABLES)
        if each.what.startswith("query")
    ]
    assert not found, told(found)


@pytest.mark.req("SEC-1")
def test_patient_slices_reach_patients_only_through_visible_to() -> None:
    found = [each for place, source in sources("patient/") for each in ways_around(source, place)]
    assert not found, told(found)


@pytest.mark.req("SEC-1")
def test_every_staff_module_that_answers_http_with_patients_asks_the_door() -> None:
    pages = [(place, source) for place, source in sources() if place.endswith("routes.py")]
    assert len(pages) > 5
    found = [
        Finding(place, 1, "queries on patients' tables and no subject anywhere")
        for place, source in pages
        if queries_on(ast.parse(source), PATIENT_TABLES) and not asks_the_door(ast.parse(source))
    ]
    assert not found, told(found)


def test_every_exception_still_stands_for_a_function() -> None:
    for entry in BEHIND_A_DOOR:
        place, _, function = entry.partition(":")
        assert function in {each.name for each in functions(ast.parse((ROOT / place).read_text()))}, entry


@pytest.mark.parametrize(
    "body",
    [
        "return session.scalars(select(Report)).all()",
        "return session.get(Person, key)",
        "return session.scalars(select(Result.id).where(Result.id == key)).all()",
        "return reports.released(session, key)",
        "return session.query(Order).all()",
    ],
)
def test_the_lint_finds_each_way_around(body: str) -> None:
    source = textwrap.dedent(f"def page(session, key):\n    {body}\n")
    assert len(ways_around(source, "patient/visits/routes.py")) == 1


def test_the_lint_lets_the_door_pass() -> None:
    query = "select(Report).where(Report.person_id.in_(visible_to(subject)))"
    source = f"def page(session, subject):\n    return session.scalars({query})\n"
    assert ways_around(source, "patient/visits/routes.py") == []


OPEN_TO_ALL = {"/p/sign-in", "/p/oauth/wechat", "/p/oauth/alipay", "/p/sign-out"}


@pytest.mark.req("SEC-1")
def test_every_patient_page_asks_who_is_signed_in() -> None:
    from cloud.patient.bills.routes import router as bills
    from cloud.patient.home.routes import router as home
    from cloud.patient.identity.access import signed_in, signed_in_apart
    from cloud.patient.identity.routes import router as identity
    from cloud.patient.paying.routes import router as paying
    from cloud.patient.registration.routes import router as registration
    from cloud.patient.reports.routes import router as reports

    pages = [
        route
        for router in (bills, home, identity, paying, registration, reports)
        for route in router.routes
        if isinstance(route, APIRoute) and route.path.startswith("/p")
    ]
    assert len(pages) >= 40
    for page in pages:
        asks = any(each.call in (signed_in, signed_in_apart) for each in page.dependant.dependencies)
        assert asks or page.path in OPEN_TO_ALL, f"{page.path} asks nobody who they are"
