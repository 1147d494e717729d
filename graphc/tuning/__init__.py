"""Measuring schedules: alternatives to the cost model's, timed on this machine, winners kept."""
