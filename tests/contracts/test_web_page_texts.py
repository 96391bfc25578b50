"""Every page in two languages, and no page with a script or a style in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.page_texts import CLOUD, sentences, templates, translations, wordings

CHINESE = re.compile(r"[\u4e00-\u9fff]")
PLACEHOLDERS = re.compile(r"%\((\w+)\)s|\{(\w+)\}")
INLINE = {
    "a script in the page": re.compile(r"<script(?![^>]*\ssrc=)[^>]*>", re.IGNORECASE),
    "a style in the page": re.compile(r"<style\b", re.IGNORECASE),
    "a style attribute": re.compile(r"\sstyle\s*=", re.IGNORECASE),
    "an event handler attribute": re.compile(r"\son[a-z]+\s*=", re.IGNORECASE),
    "htmx code that needs eval": re.compile(r"\s(data-)?hx-on|\shx-vals\s*=\s*['\"]js:|\sjs:", re.IGNORECASE),
    "a javascript address": re.compile(r"(href|src|action)\s*=\s*['\"]\s*javascript:", re.IGNORECASE),
    "something from another host": re.compile(r"(href|src|action)\s*=\s*['\"]\s*(https?:)?//", re.IGNORECASE),
}


def _name(path: Path) -> str:
    return str(path.relative_to(CLOUD))


@pytest.mark.req("UX-1")
def test_every_sentence_has_its_english() -> None:
    english = translations()
    missing = {sentence: files for sentence, files in sentences().items() if sentence not in english}
    shown = "\n".join(f"  {', '.join(sorted(files))}: {sentence}" for sentence, files in sorted(missing.items()))
    assert not missing, f"{len(missing)} sentences have no English:\n{shown}"


def _disagreements(catalogs: list[Path] | None = None) -> list[str]:
    return [
        f"{sentence}: " + "; ".join(f"{' / '.join(english)} ({', '.join(files)})" for english, files in said.items())
        for sentence, said in wordings(catalogs).items()
        if len(said) > 1
    ]


@pytest.mark.req("UX-1")
def test_one_sentence_has_one_english_in_all_slices() -> None:
    found = _disagreements()
    assert not found, "pages share their catalogs, so the first would win:\n" + "\n".join(found)


def test_two_catalogs_that_disagree_are_noticed(tmp_path: Path) -> None:
    catalogs = []
    for number, english in enumerate(("Look", "View", "View")):
        catalogs.append(tmp_path / f"{number}.po")
        catalogs[-1].write_text(f'msgid ""\nmsgstr ""\n\nmsgid "查看"\nmsgstr "{english}"\n', encoding="utf-8")
    (found,) = _disagreements(catalogs)
    assert "Look" in found
    assert _disagreements(catalogs[1:]) == []


def test_english_keeps_the_places_that_a_sentence_leaves_open() -> None:
    said = sentences()
    for chinese, forms in translations().items():
        if chinese in said:
            for english in forms:
                assert set(PLACEHOLDERS.findall(chinese)) >= set(PLACEHOLDERS.findall(english)), chinese


@pytest.mark.parametrize("path", templates(), ids=_name)
def test_no_template_holds_text_that_cannot_be_translated(path: Path) -> None:
    text = re.sub(r"\{#.*?#\}", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    outside = re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", text, flags=re.DOTALL)
    assert not CHINESE.findall(outside)


@pytest.mark.req("SEC-1")
@pytest.mark.parametrize("path", templates(), ids=_name)
def test_no_template_needs_a_weaker_content_security_policy(path: Path) -> None:
    text = re.sub(r"\{#.*?#\}", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = [what for what, pattern in INLINE.items() if pattern.search(text)]
    assert not found


@pytest.mark.parametrize("path", templates(), ids=_name)
def test_every_form_that_changes_something_carries_the_page_token(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for form in re.findall(r"<form\b[^>]*method=\"post\".*?</form>", text, flags=re.DOTALL | re.IGNORECASE):
        assert "csrf_token" in form or "ui.csrf()" in form or "csrf()" in form
