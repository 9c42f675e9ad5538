"""Decides, schedules, records and compares personalizations: the part of dvar-tune that users call."""

__distribution__ = "dvar-tune"
