"""Tests: they mirror graphc/ file for file. tests/benchmarks holds what is timed,
tests/exhaustive what is measured over every float32."""
