"""Partition leases in the database's time: one conditional UPDATE takes, one keeps, one gives back.

`token` rises with every change of hands. The apply step holds the lease's row with FOR KEY SHARE until it commits: a
heartbeat does not wait for that, a takeover skips the row while it is held, and after a takeover the old token finds
nothing. So a holder that lost its lease can never apply.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from cloud.gateways import rules


class LeaseLost(RuntimeError):
    """Another worker holds this partition now; what was begun under the old token is rolled back."""


@dataclass(frozen=True, slots=True)
class Lease:
    partition: int
    holder: str
    token: int

    def __str__(self) -> str:
        return f"{self.holder}#{self.token}"


_MAKE = text(
    "INSERT INTO gateway_partition_lease (partition, token) SELECT n, 0 FROM generate_series(0, :last) AS n"
    " ON CONFLICT DO NOTHING"
)
_ALIVE = text(
    "INSERT INTO gateway_ingest_worker (id, alive_until)"
    " VALUES (:me, clock_timestamp() + make_interval(secs => :seconds))"
    " ON CONFLICT (id) DO UPDATE SET alive_until = excluded.alive_until"
)
_WORKERS = text("SELECT id FROM gateway_ingest_worker WHERE alive_until > clock_timestamp()")
_BURY = text("DELETE FROM gateway_ingest_worker WHERE alive_until < clock_timestamp() - interval '1 hour'")
_KEEP = text(
    "UPDATE gateway_partition_lease SET expires_at = clock_timestamp() + make_interval(secs => :seconds)"
    " WHERE holder = :me RETURNING partition, token"
)
_TAKE = text(
    "UPDATE gateway_partition_lease SET holder = :me, token = token + 1, taken_at = clock_timestamp(),"
    " expires_at = clock_timestamp() + make_interval(secs => :seconds)"
    " WHERE partition IN (SELECT partition FROM gateway_partition_lease"
    " WHERE partition < :partitions AND (holder IS NULL OR expires_at < clock_timestamp())"
    " ORDER BY partition LIMIT :room FOR UPDATE SKIP LOCKED) RETURNING partition, token"
)
_GIVE_BACK = text(
    "UPDATE gateway_partition_lease SET holder = NULL, expires_at = clock_timestamp()"
    " WHERE partition = :partition AND holder = :holder AND token = :token"
)
_HOLD = text(
    "SELECT 1 FROM gateway_partition_lease WHERE partition = :partition AND holder = :holder AND token = :token"
    " FOR KEY SHARE"
)
_LEAVE = text("DELETE FROM gateway_ingest_worker WHERE id = :me")


def make(session: Session, partitions: int) -> None:
    """A row for every partition; those that exist stay as they are."""
    session.execute(_MAKE, {"last": partitions - 1})


def beat(session: Session, me: str, *, seconds: float, partitions: int) -> tuple[list[Lease], int]:
    """One heartbeat: say that `me` lives, keep what it holds, take what is free up to its fair share.

    Gives the leases held now and the fair share; what is held above it is to be given back by the caller.
    """
    session.execute(_ALIVE, {"me": me, "seconds": seconds})
    session.execute(_BURY)
    held = [Lease(row.partition, me, row.token) for row in session.execute(_KEEP, {"me": me, "seconds": seconds})]
    share = rules.fair_share(partitions, list(session.scalars(_WORKERS)), me)
    if len(held) < share:
        taken = session.execute(
            _TAKE, {"me": me, "seconds": seconds, "partitions": partitions, "room": share - len(held)}
        )
        held.extend(Lease(row.partition, me, row.token) for row in taken)
    return sorted(held, key=lambda each: each.partition), share


def give_back(session: Session, lease: Lease) -> None:
    """Free at once for another worker (no effect when it is lost already)."""
    session.execute(_GIVE_BACK, {"partition": lease.partition, "holder": lease.holder, "token": lease.token})


def leave(session: Session, me: str) -> None:
    """This worker ends: the others share without it."""
    session.execute(_LEAVE, {"me": me})


def hold(session: Session, lease: Lease) -> None:
    """Keep the lease from changing hands until this transaction ends; raises LeaseLost when it has already."""
    found = session.execute(_HOLD, {"partition": lease.partition, "holder": lease.holder, "token": lease.token}).first()
    if found is None:
        raise LeaseLost(f"partition {lease.partition} is no longer held by {lease}")
