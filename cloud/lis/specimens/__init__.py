"""The specimen's road: grouped into tubes, labelled, collected, received, rejected; each step an appended event."""
