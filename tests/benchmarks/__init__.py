"""Benchmarks: `python -m tests.benchmarks` times the workloads; nothing here is a test."""
