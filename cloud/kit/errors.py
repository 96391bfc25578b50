"""One tree of expected refusals, cut by who must act; mapped to HTTP once, in `cloud.web`.

The message is a sentence for the person who asked (Chinese source text, translated like every page text) and says what
to do. `code` is stable and English, for programs and logs.
"""

from __future__ import annotations

from typing import Any, ClassVar


class XinglinError(Exception):
    """Root. `fields` fill the message's ``{placeholders}`` and go to the log; never names or values of patients."""

    status: ClassVar[int] = 500

    def __init__(self, code: str, message: str, **fields: Any) -> None:
        super().__init__(code)
        self.code = code
        self.message = message
        self.fields = fields


class Invalid(XinglinError):
    """The input is wrong; the person who typed or sent it must correct it."""

    status = 422


class Unauthenticated(XinglinError):
    """Sign in first."""

    status = 401


class Forbidden(XinglinError):
    """Signed in, but without the right; an administrator or the patient must grant it."""

    status = 403


class NotFound(XinglinError):
    """There is no such thing, or this person may not know that there is."""

    status = 404


class Conflict(XinglinError):
    """The thing is not in a state that allows this (released already, taken, changed by somebody else)."""

    status = 409


class TooMany(XinglinError):
    """Slow down; `fields["retry_after_s"]` says how long."""

    status = 429


class Unavailable(XinglinError):
    """A neighbour (database, broker, channel) is away; try again later. Nothing was lost."""

    status = 503
