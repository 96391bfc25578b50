"""What a phone's page must be for everybody (WCAG 2.2 AA), as far as a program can see it in the browser.

Contrast of every text (1.4.3), size of what is tapped (2.5.8: 24 by 24), a name for each control (4.1.2), one heading
of the first rank, a language. Whether a sentence is understood, no program sees.
"""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

_LOOK = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")


def barriers(page: Page) -> list[str]:
    """What would stop somebody on the page as it stands."""
    found: list[str] = page.evaluate(_LOOK)
    return found
