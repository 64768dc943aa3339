"""Thresholds compared: figures with their intervals, the one to take, and whether the PRM can tell steps apart at all.

`figures` reads what runs left; `recommendation`, `search` and `scale` decide on them, and are pure; `directory` keeps
the files of a calibration; `recall` finds attempts that earlier runs have made.
"""
