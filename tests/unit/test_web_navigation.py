"""Which entry of the staff navigation a page belongs to."""

from __future__ import annotations

import pytest

from cloud.app import load_slices
from cloud.web import navigation


@pytest.mark.req("UX-1")
@pytest.mark.parametrize(
    ("path", "entry"),
    [
        ("/staff/boxes", "/staff/boxes"),
        ("/staff/boxes/gap", "/staff/boxes"),
        ("/staff/boxes/messages", "/staff/boxes/messages"),
        ("/staff/boxes/messages/17", "/staff/boxes/messages"),
        ("/staff/boxes-of-another-kind", None),
        ("/staff", None),
    ],
)
def test_a_page_below_another_marks_its_own_entry_alone(
    path: str, entry: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(navigation, "_entries", {})
    for href in ("/staff/boxes", "/staff/boxes/messages", "/staff/box"):
        navigation.add(href, href, permission="gateway.read", group="", position=1)
    assert navigation.current(path) == entry


@pytest.mark.req("LIS-18")
def test_no_two_pages_of_the_product_share_a_key() -> None:
    load_slices()
    home = "g h"  # the layout's own
    keys = [home, *(each.key for each in navigation.every_entry() if each.key is not None)]
    assert len(keys) > 10
    assert sorted(keys) == sorted(set(keys))
