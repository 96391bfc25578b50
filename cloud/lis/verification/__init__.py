"""Pure decisions on one result: flags, critical, delta, plausibility. No session, no clock."""
