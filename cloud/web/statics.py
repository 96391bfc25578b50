"""Our own and the vendors' static files, addressed with a fingerprint so that a browser may keep them for a year."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC_DIR = Path(__file__).parent / "static"
PREFIX = "/static"


def static_url(path: str) -> str:
    """``/static/<path>?v=<fingerprint>``; without fingerprint where the file is missing (the set-up was not run)."""
    file = STATIC_DIR / path
    try:
        version = _fingerprint(path, file.stat().st_mtime_ns)
    except FileNotFoundError:
        return f"{PREFIX}/{path}"
    return f"{PREFIX}/{path}?v={version}"


@lru_cache(maxsize=512)
def _fingerprint(path: str, _changed_at: int) -> str:
    return hashlib.sha256((STATIC_DIR / path).read_bytes()).hexdigest()[:12]


class FingerprintedFiles(StaticFiles):
    """A file asked for by its fingerprint never changes; any other is asked about again each time."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        asked_by_fingerprint = b"v=" in scope.get("query_string", b"")
        response.headers["Cache-Control"] = (
            "public, max-age=31536000, immutable" if asked_by_fingerprint else "no-cache"
        )
        return response
