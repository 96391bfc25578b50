"""Roche cobas c 311 chemistry analyzer, host interface "New Mode" (ASTM E1381-91, E1394-91).

Source: a capture of a c 311; Roche "cobas c 311 analyzer Host Interface Manual" 1.3 (message flow, data alarms) in
public manual archives; RedTICS/cobasC311, a public integration that documents its orders and results field by field.

O.3 of a real analyzer is ``counter^sample, padded^...``, not the plain sample of the manual. Results carry no time:
O.23 is theirs. R.9 C is a rerun; R.14 the module (P1 photometer, ISE1). The analyzer may call itself H7600, then it is
read as a 6000, whose messages are the same.
"""

from __future__ import annotations

from typing import ClassVar

from protocols.dialects.cobas import CobasHost
from protocols.driver import Status


class RocheC311(CobasHost):
    id: ClassVar[str] = "roche_c311"
    vendor: ClassVar[str] = "Roche"
    models: ClassVar[tuple[str, ...]] = ("cobas c 311",)
    source: ClassVar[str] = "capture of a c 311; Host Interface Manual 1.3; RedTICS/cobasC311 (orders, reruns)"
    status: ClassVar[Status] = Status.CAPTURED
    names: ClassVar[tuple[str, ...]] = ("c311", "cobasc311")
    answers_host_queries: ClassVar[bool] = True
    batch_receiver: ClassVar[str] = "cobas c 311"
