"""Page texts: the source string is the Chinese sentence, English comes from a Babel catalog in each slice.

All catalogs ``cloud/<slice>/locale/<language>/LC_MESSAGES/messages.po`` are merged at start. The language belongs to
the request: ``?lang=`` (kept in a cookie), else the cookie, else Chinese, which the hospital speaks.
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import cache
from pathlib import Path

import structlog
from babel.messages.pofile import read_po

import cloud

SOURCE = "zh-CN"
LANGUAGES = {"zh-CN": "中文", "en": "English"}
COOKIE = "xl_lang"

_language: ContextVar[str] = ContextVar("language", default=SOURCE)
_log = structlog.get_logger()


def language() -> str:
    """The language of the request being answered."""
    return _language.get()


def use_language(name: str | None) -> str:
    """Make `name` the language of this request (of this task, thread or block); an unknown one is Chinese."""
    chosen = name if name in LANGUAGES else SOURCE
    _language.set(chosen)
    return chosen


def gettext(message: str) -> str:
    """The sentence in the request's language; itself where no translation is stored."""
    if language() == SOURCE:
        return message
    return _catalog(language()).get(message, (message,))[0]


def ngettext(singular: str, plural: str, n: int) -> str:
    """Chinese has one form: write the same sentence twice, English picks by `n`."""
    if language() == SOURCE:
        return singular if n == 1 else plural
    forms = _catalog(language()).get(singular)
    if forms is None:
        return singular if n == 1 else plural
    return forms[0] if n == 1 or len(forms) == 1 else forms[1]


def mark(message: str) -> str:
    """Mark a sentence here that is translated later, where it is shown. Import it as ``N_``."""
    return message


def catalog_files(name: str) -> list[Path]:
    """The catalogs of all slices in that language."""
    return sorted(Path(cloud.__file__).parent.glob(f"**/locale/{name}/LC_MESSAGES/messages.po"))


@cache
def _catalog(name: str) -> dict[str, tuple[str, ...]]:
    merged: dict[str, tuple[str, ...]] = {}
    for path in catalog_files(name):
        with path.open("rb") as file:
            catalog = read_po(file, locale=name.replace("-", "_"))
        for message in catalog:
            forms = _forms(message.string)
            if not message.id or not forms:
                continue
            key = message.id[0] if isinstance(message.id, tuple | list) else message.id
            known = merged.setdefault(key, forms)
            if known != forms:
                _log.warning("two slices translate one sentence differently", msgid=key, file=str(path))
    return merged


def _forms(translated: object) -> tuple[str, ...]:
    """One form, or singular and plural; none where the translator left it empty."""
    forms = translated if isinstance(translated, tuple | list) else (translated,)
    return tuple(each for each in forms if isinstance(each, str) and each)
