"""``python -m tests.support.ingest_worker NAME LEASE_SECONDS``: the real worker; its laboratory keeps a ledger."""

from __future__ import annotations

import sys

from cloud.gateways.ingest import run
from tests.support.gateways import keep_in_ledger

if __name__ == "__main__":
    run(sys.argv[1], float(sys.argv[2]), ingest=keep_in_ledger)
