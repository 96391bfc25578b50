"""What another configuration changes on a running box: which links, and which settings wait for the next start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from msgspec.structs import fields, replace

from edge.config import BoxConfig, Closed

_AT_ONCE = ("links", "cloud", "health", "reload")
_STORE_AT_ONCE = ("keep_delivered_days",)


@dataclass(frozen=True, slots=True)
class Difference:
    """Link ids, and keys such as "cloud.host"."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: tuple[str, ...]
    at_once: tuple[str, ...]
    """Settings of the box that are taken without a restart."""
    at_restart: tuple[str, ...]
    """Settings that are not in force before the box is started again."""

    @property
    def is_empty(self) -> bool:
        return not (self.added or self.changed or self.removed or self.at_once or self.at_restart)

    @property
    def touched(self) -> tuple[str, ...]:
        """Links that run with other settings than before."""
        return self.changed + self.added


def difference(before: BoxConfig, after: BoxConfig) -> Difference:
    old, new = ({each.id: each for each in config.links} for config in (before, after))
    keys = list(_changed_keys(before, after))
    at_once = tuple(each for each in keys if _is_taken_at_once(each))
    return Difference(
        added=tuple(each for each in new if each not in old),
        changed=tuple(each for each in new if each in old and new[each] != old[each]),
        removed=tuple(each for each in old if each not in new),
        unchanged=tuple(each for each in new if each in old and new[each] == old[each]),
        at_once=at_once,
        at_restart=tuple(each for each in keys if each not in at_once),
    )


def in_force(running: BoxConfig, wanted: BoxConfig) -> BoxConfig:
    """`wanted` as far as a running box can take it: what waits for the next start stays as it is running."""
    kept = {each.name: getattr(running, each.name) for each in fields(wanted) if each.name not in _AT_ONCE}
    kept["store"] = replace(running.store, **{key: getattr(wanted.store, key) for key in _STORE_AT_ONCE})
    return replace(wanted, **kept)


def _is_taken_at_once(key: str) -> bool:
    section, _, name = key.partition(".")
    return section in _AT_ONCE or (section == "store" and name in _STORE_AT_ONCE)


def _changed_keys(before: BoxConfig, after: BoxConfig) -> Iterator[str]:
    for section in fields(BoxConfig):
        old, new = getattr(before, section.name), getattr(after, section.name)
        if isinstance(old, Closed) and isinstance(new, Closed):
            for field in fields(old):
                if getattr(old, field.name) != getattr(new, field.name):
                    yield f"{section.name}.{field.name}"
