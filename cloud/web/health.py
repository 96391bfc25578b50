"""What a load balancer and a monitor ask: is this replica fit to serve, and its numbers."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse, Response

from cloud.config import settings
from cloud.kit import db, migrate, presence

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
def healthz(deep: bool = False) -> Response:
    """200 when the database answers and stands at this program's newest migration; else 503 and what is wrong.

    `deep` asks for the broker too: for a monitor. A load balancer must not, pages are served without it.
    """
    checks = {"database": "ok", "migrations": "ok"}
    try:
        with db.engine().connect() as connection:
            found = migrate.current(connection)
        if found != migrate.head():
            checks["migrations"] = f"database is at {found}, program at {migrate.head()}"
    except SQLAlchemyError as error:
        checks["database"] = type(error).__name__
        checks["migrations"] = "unknown"
    if deep:
        checks["broker"] = presence.reach(settings().mqtt_host, settings().mqtt_port) or "ok"
    fit = all(state == "ok" for state in checks.values())
    return JSONResponse({"fit": fit, **checks}, status_code=200 if fit else 503)


@router.get("/metrics")
def metrics() -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
