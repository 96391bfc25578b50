"""What a load balancer and a monitor ask: is this replica fit to serve, and its numbers."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse, Response

from cloud.kit import db, migrate

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
def healthz() -> Response:
    """200 when the database answers and stands at this program's newest migration; else 503 and what is wrong."""
    checks = {"database": "ok", "migrations": "ok"}
    try:
        with db.engine().connect() as connection:
            found = migrate.current(connection)
        if found != migrate.head():
            checks["migrations"] = f"database is at {found}, program at {migrate.head()}"
    except SQLAlchemyError as error:
        checks["database"] = type(error).__name__
        checks["migrations"] = "unknown"
    fit = all(state == "ok" for state in checks.values())
    return JSONResponse({"fit": fit, **checks}, status_code=200 if fit else 503)


@router.get("/metrics")
def metrics() -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
