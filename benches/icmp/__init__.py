"""The benchmark of pings and sweeps: `benches/run icmp`."""
