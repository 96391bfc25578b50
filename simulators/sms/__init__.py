"""A stand-in for an SMS gateway: takes template messages and keeps them, so that a test phone can read its inbox."""
