"""Shared code of the selector benchmarks: tables, the downstream net, scores, records and reports."""
