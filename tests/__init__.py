"""Tests: they mirror graphc/ file for file. tests/benchmarks holds what is timed."""
