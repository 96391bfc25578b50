"""What is written in a slice is known to the program, and every staff page asks for a right."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

import cloud
from cloud.staff.access import signed_in
from cloud.staff.roles import PERMISSIONS, ROLES, permissions_of

CLOUD = Path(cloud.__file__).parent
REGISTERS = re.compile(
    r"^@(job|on)\(|^\w*router = APIRouter|^    __tablename__ =|^navigation\.add|^@event_type|^from_database\(",
    re.MULTILINE,
)
WITHOUT_SIGN_IN = {"/staff/sign-in", "/staff/sign-out"}


def _registering_modules() -> list[str]:
    found = []
    for path in sorted(CLOUD.glob("**/*.py")):
        if "migrations" not in path.parts and REGISTERS.search(path.read_text(encoding="utf-8")):
            found.append(".".join(("cloud", *path.relative_to(CLOUD).with_suffix("").parts)))
    return found


def test_whatever_a_slice_registers_is_imported_at_start() -> None:
    program = "import sys; from cloud.app import load_slices; load_slices(); print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    missing = [name for name in _registering_modules() if name not in loaded]
    assert not missing, "imported by nobody: give the slice a line in cloud/app.py"


@pytest.fixture(scope="module")
def app() -> FastAPI:
    from cloud.app import SLICES, load_slices

    load_slices()
    made = FastAPI()
    for name in SLICES:
        module = sys.modules.get(f"cloud.{name}.routes")
        if module is not None:
            made.include_router(module.router)
    return made


def _routes(app: FastAPI) -> Iterator[APIRoute]:
    from fastapi.routing import iter_route_contexts

    for context in iter_route_contexts(app.routes):
        if isinstance(context.route, APIRoute):
            yield context.route


def _dependencies(dependant: Dependant) -> Iterator[object]:
    yield dependant.call
    for each in dependant.dependencies:
        yield from _dependencies(each)


@pytest.mark.req("SEC-1")
def test_every_staff_page_is_behind_the_sign_in(app: FastAPI) -> None:
    pages = [route for route in _routes(app) if route.path.startswith("/staff")]
    assert len(pages) > 5
    for route in pages:
        if route.path not in WITHOUT_SIGN_IN:
            assert signed_in in _dependencies(route.dependant), f"{route.path} asks nobody who they are"


@pytest.mark.req("SEC-1")
def test_rights_and_roles_speak_of_the_same_things() -> None:
    given = frozenset[str]().union(*ROLES.values())
    assert given == set(PERMISSIONS), "a right that no role has, or a role with a right that does not exist"
    assert permissions_of(["nonsense"]) == frozenset()


MATRIX = {
    "result.review": {"technician", "reviewer", "section_head", "director"},
    "result.release": {"reviewer", "section_head", "director"},
    "report.amend": {"reviewer", "section_head", "director"},
    "catalog.approve": {"director"},
    "rule.approve": {"section_head", "director"},
    "catalog.edit": {"reviewer", "section_head", "director"},
    "gateway.configure": {"field_engineer"},
    "patient.bind": {"cashier"},
    "patient.read": {
        "technician",
        "reviewer",
        "section_head",
        "director",
        "nurse",
        "cashier",
        "outpatient_office",
        "reception",
        "infection_control",
        "clerk",
        "executor",
    },
    "charge.execute": {"executor"},
    "charge.make": {"cashier"},
    "money.policy": {"finance"},
    "specimen.receive": {"technician", "reviewer", "section_head", "director", "reception"},
    "infectious.decide": {"reviewer", "section_head", "director", "infection_control"},
    "result.export": {"reviewer", "section_head", "director", "clerk"},
    "money.read": {"cashier", "finance"},
    "money.collect": {"cashier"},
    "money.refund": {"cashier"},
    "money.reconcile": {"finance"},
    "staff.admin": {"admin"},
    "audit.read": {"director", "admin"},
}


@pytest.mark.req("SEC-1")
@pytest.mark.parametrize("permission", MATRIX)
def test_who_may_do_what_is_what_the_laboratory_agreed(permission: str) -> None:
    assert {role for role in ROLES if permission in permissions_of([role])} == MATRIX[permission]


@pytest.mark.req("SEC-1")
def test_nobody_who_manages_accounts_reads_patients() -> None:
    assert permissions_of(["admin"]).isdisjoint({"patient.read", "result.read", "report.read", "result.release"})
