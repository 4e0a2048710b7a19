"""What the benchmarks share: processes, namespaces, turns, tables."""
