"""Who pays a bill: as for everything that is paid on the phone."""

from cloud.patient.paying.payer import Payer, payer_of

__all__ = ["Payer", "payer_of"]
