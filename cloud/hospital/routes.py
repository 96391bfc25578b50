"""The staff's list of campuses and departments, as the HIS codes them. Reading only."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from cloud.hospital import photos, service
from cloud.kit.db import Transaction
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

PAGE = "/staff/hospital/departments"
KIND_NAMES = {
    "clinical": N_("临床科室"),
    "laboratory": N_("检验科室"),
    "executing": N_("执行科室"),
    "administrative": N_("行政科室"),
}

router = APIRouter(include_in_schema=False)
router.include_router(photos.router)
navigation.add(N_("院区与科室"), PAGE, permission="hospital.read", group=N_("系统"), position=930, key="g D")


@router.get(PAGE)
def departments(
    request: Request, staff: Annotated[CurrentStaff, Depends(require("hospital.read"))], session: Transaction
) -> Response:
    context = {"departments": service.departments(session), "kinds": KIND_NAMES}
    return render(request, "hospital/departments.html", context)
