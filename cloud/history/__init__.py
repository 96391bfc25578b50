"""A made-up past for demonstrations and measurements: `./xinglin cloud load-history`. Nobody in it ever lived.

No rule is decided here: verdicts come from `cloud.lis.verification`, audit hashes from `cloud.kit.audit`. Refuses in
production.
"""
