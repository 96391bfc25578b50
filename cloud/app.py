"""The table of contents: which slices there are, lowest first, and the web application made of them."""

from __future__ import annotations

import asyncio
import gc
import importlib
import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import Depends, FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.config import settings
from cloud.kit import db
from cloud.kit.live import Hub
from cloud.notify.wechat import check_hosts
from cloud.payments import channels
from cloud.web import csrf, health, refusals, secrets
from cloud.web.middleware import Surroundings
from cloud.web.statics import PREFIX, STATIC_DIR, FingerprintedFiles

SLICES = (
    "web",
    "staff",
    "hospital",
    "notify",
    "payments",
    "people",
    "billing",
    "lis.catalog",
    "lis.authority",
    "lis.instruments",
    "lis.orders",
    "lis.specimens",
    "lis.transport",
    "lis.storage",
    "lis.worklists",
    "lis.qc",
    "lis.environment",
    "lis.calculation",
    "lis.reflex",
    "lis.verification",
    "lis.results",
    "lis.worksheets",
    "lis.critical",
    "lis.reports",
    "lis.printing",
    "lis.autoverify",
    "lis.infectious",
    "lis.turnaround",
    "lis.query",
    "lis.kiosk",
    "his",
    "gateways",
    "gateways.watch",
    "gateways.redecode",
    "gateways.mapping",
    "patient.identity",
    "patient.paying",
    "patient.registration",
    "patient.bills",
    "patient.reports",
    "patient.home",
    "window",
)
"""A new slice is one line here and one word in the import contract."""

PARTS = ("model", "events", "metrics", "checks", "jobs", "routes")
"""What a slice may have that must be known to the program before it starts."""


def load_slices(*, pages: bool = True) -> None:
    """Import every slice's tables, facts, reactions and routes, so that all of them are registered.

    `pages=False`: without the routes, for a program that serves none; it starts in 60 % of the time. Nearly everything
    that is made here stays, so the collector is spared looking through it while it grows.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        _load(pages)
    finally:
        if collecting:
            gc.enable()


def _load(pages: bool) -> None:
    for name in SLICES:
        for part in PARTS:
            if (pages or part != "routes") and _exists(f"cloud.{name}.{part}"):
                importlib.import_module(f"cloud.{name}.{part}")
    for module in (
        "cloud.kit.audit",
        "cloud.kit.events",
        "cloud.kit.failures",
        "cloud.kit.seal",
        "cloud.web.sessions",
        "cloud.web.rate",
    ):
        importlib.import_module(module)


def _exists(module: str) -> bool:
    """Whether the slice has this part; a slice that is missing itself is an error."""
    return importlib.util.find_spec(module) is not None


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.hub = Hub(db.engine().url.render_as_string(hide_password=False))
    listening = asyncio.create_task(app.state.hub.run())
    yield
    listening.cancel()
    with suppress(asyncio.CancelledError):
        await listening


def create_service() -> FastAPI:
    """The application for a process that serves nothing else until it ends."""
    app = create_app()
    settle_memory()
    return app


def settle_memory() -> None:
    """What stands when a service starts stays until it ends: the collector need not look through it again and again.

    Looking took up to 300 ms, in the middle of somebody's page, and 35 ms for what the first pages had left; so it
    looks more seldom too. Nearly everything of a request goes without it, by counting references.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 100)


def create_app() -> FastAPI:
    """The web application on the configured database. Refuses to start with a stand-in in production."""
    secrets.check(settings())
    check_hosts(settings())
    channels.check(settings())
    load_slices()
    app = FastAPI(
        title="Xinglin",
        lifespan=_lifespan,
        dependencies=[Depends(csrf.check)],
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    # A phone on a slow line gets its first view in under 60 KB. Compression beside a page token is safe here, as the
    # session cookie is SameSite: a stranger's page cannot make the browser repeat a request with it. Event streams are
    # left alone by the middleware.
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=5)
    app.add_middleware(Surroundings, on_fault=refusals.fault_page)
    refusals.install(app)
    app.mount(PREFIX, FingerprintedFiles(directory=STATIC_DIR), name="static")
    app.include_router(health.router)
    for name in SLICES:
        if _exists(f"cloud.{name}.routes"):
            app.include_router(importlib.import_module(f"cloud.{name}.routes").router)

    @app.get("/", include_in_schema=False)
    def front_door(request: Request) -> Response:
        return RedirectResponse("/staff", status_code=303)

    return app
