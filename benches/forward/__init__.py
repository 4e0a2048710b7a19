"""The benchmark of forwards: `benches/run forward`, `million`, `exhausted`."""
