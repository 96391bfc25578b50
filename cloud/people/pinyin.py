"""The pinyin initials of a person's name, by which a keyboard finds it."""

from __future__ import annotations

from functools import lru_cache

SURNAMES = {
    "单": "s", "解": "x", "曾": "z", "查": "z", "仇": "q", "区": "o", "朴": "p", "翟": "z", "盖": "g", "任": "r",
    "乐": "y", "折": "s", "缪": "m", "种": "c", "繁": "p", "召": "s", "尉迟": "yc", "长孙": "zs", "万俟": "mq",
    "澹台": "tt", "令狐": "lh", "宿": "s", "那": "n", "能": "n", "燕": "y", "谌": "c", "员": "y", "祭": "z", "黑": "h",
}  # fmt: skip
"""Read otherwise as a surname than in other words."""
LONGEST = 32


@lru_cache(maxsize=20_000)
def spelled(name: str) -> str:
    """``王小明`` gives "wangxiaoming", by the most common reading of each character."""
    from pypinyin import lazy_pinyin

    return "".join(lazy_pinyin("".join(name.split()))).lower()


def sounds_like(name: str, typed: str) -> bool:
    """Whether the letters typed are the beginning of the name's initials or of its pinyin."""
    wanted = "".join(typed.split()).lower()
    if not (wanted.isascii() and wanted.isalpha()):
        return False
    return initials_of(name).startswith(wanted) or spelled(name).startswith(wanted)


@lru_cache(maxsize=20_000)
def initials_of(name: str) -> str:
    """``王小明`` gives "wxm"; letters and digits stay as they are, in lower case; "" of an empty name."""
    from pypinyin import Style, lazy_pinyin

    shown = "".join(name.split())
    surname = next((each for each in (shown[:2], shown[:1]) if each in SURNAMES), "")
    rest = "".join(lazy_pinyin(shown[len(surname) :], style=Style.FIRST_LETTER))
    found = SURNAMES.get(surname, "") + rest
    return "".join(each for each in found.lower() if each.isascii() and each.isalnum())[:LONGEST]
