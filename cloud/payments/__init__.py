"""Money between a patient and the hospital: payments, refunds, their channels, and the ledger of what really moved."""
