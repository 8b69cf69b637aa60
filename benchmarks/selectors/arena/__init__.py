"""What the selector benchmarks share: tables, the downstream net, scores, records and reports."""
