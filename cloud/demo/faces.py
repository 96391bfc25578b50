"""Pictures of doctors who do not exist: small drawings of our own (SVG), chosen by a seed. They resemble nobody."""

from __future__ import annotations

import random

SKIN = ("#f6d7bd", "#f1cba9", "#e9bd98", "#f8dfc9")
HAIR = ("#2b2523", "#3a302b", "#1f1d20", "#4a3b32", "#6d6863", "#8b8782")
GROUND = ("#dcebe9", "#e3e7f3", "#efe6dc", "#e2eedd", "#eee0e4", "#dde9f2")
SHIRT = ("#5b8fb0", "#7a9e7e", "#b7c6d8", "#a56b73", "#4f6d8f", "#c2a878")

_SHORT = (
    '<path d="M46 74c-4-34 16-48 34-48s39 13 34 48c-3-14-8-20-12-25-14 5-32 5-45-1-5 6-9 13-11 26z"/>',
    '<path d="M47 72c-5-30 12-46 33-46 22 0 38 15 33 46-2-10-5-17-9-21-6 4-38 8-48-3-5 5-8 13-9 24z"/>',
    '<path d="M48 68c-2-28 14-41 33-41 18 0 34 13 31 41-3-8-6-13-9-16-17 2-31-1-40-8-7 6-12 13-15 24z"/>',
)
_LONG = (
    '<path d="M42 104c-6-46 6-78 38-78s44 32 38 78'
    'c-6 5-13 5-16 2 6-20 4-40-2-54-12 3-30 1-40-6-8 12-9 38-2 60-4 3-11 3-16-2z"/>',
    '<path d="M44 92c-5-40 9-66 36-66s41 26 36 66'
    'c-5 4-10 3-12 0 3-16 2-30-3-42-15 2-31-2-40-10-8 12-8 34-5 52-2 3-7 4-12 0z"/>',
    '<circle cx="80" cy="24" r="11"/>'
    '<path d="M46 76c-4-34 14-50 34-50s38 16 34 50c-3-12-7-20-12-26-14 3-30 1-41-6-7 7-12 17-15 32z"/>',
)


def draw(seed: str, *, woman: bool, grey: bool) -> bytes:
    """A portrait of 160 x 160 as UTF-8."""
    pick = random.Random(seed)  # noqa: S311  a drawing, no secret
    skin, ground, shirt = pick.choice(SKIN), pick.choice(GROUND), pick.choice(SHIRT)
    hair = pick.choice(HAIR[4:] if grey else HAIR[:4])
    style = pick.choice(_LONG if woman else _SHORT)
    glasses = pick.random() < 0.4
    smile = pick.choice(("M70 96q10 8 20 0", "M71 97q9 6 18 0", "M72 96q8 5 16 0"))
    brow = pick.choice((0, 1, 2))
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 160 160">',
        f'<rect width="160" height="160" fill="{ground}"/>',
        '<path d="M20 160c2-32 22-43 44-46h32c22 3 42 14 44 46z" fill="#fdfdfd" stroke="#c9d3d6" stroke-width="1.5"/>',
        f'<path d="M64 114l16 20 16-20z" fill="{shirt}"/>',
        '<path d="M64 114l-9 8 12 24 13-12zM96 114l9 8-12 24-13-12z" fill="#fff" stroke="#c9d3d6" stroke-width="1.5"/>',
        f'<path d="M70 96h20v20q-10 12-20 0z" fill="{skin}"/>',
        f'<ellipse cx="80" cy="74" rx="29" ry="35" fill="{skin}"/>',
        f'<g fill="{hair}">{style}</g>',
        f'<path d="M62 {66 - brow}q7-4 12 0M86 {66 - brow}q7-4 12 0" stroke="{hair}" stroke-width="2" fill="none"/>',
        '<circle cx="68" cy="74" r="2.6" fill="#2b2523"/><circle cx="92" cy="74" r="2.6" fill="#2b2523"/>',
        f'<path d="{smile}" stroke="#a3584f" stroke-width="2.2" fill="none" stroke-linecap="round"/>',
    ]
    if glasses:
        parts.append(
            '<g fill="none" stroke="#4a4f57" stroke-width="1.8"><circle cx="68" cy="74" r="8"/>'
            '<circle cx="92" cy="74" r="8"/><path d="M76 73h8"/></g>'
        )
    if pick.random() < 0.5:
        parts.append(
            '<path d="M58 118c-3 16 2 26 10 30M102 118c3 12 0 20-5 25" stroke="#3c5a66" stroke-width="3" fill="none"/>'
            '<circle cx="96" cy="145" r="4.5" fill="#3c5a66"/>'
        )
    return ("".join(parts) + "</svg>").encode()
