"""Accounts, sign-in through the channel's OAuth, and the proof that an account belongs to a person of the hospital's
file.
"""
