"""The targets of the design, judged by what was measured in the same run."""
from common.judge import OWN, Judge

from .measures import DIRECTIONS, SIZES

BULK = [f"bulk {direction} {streams}" for direction in DIRECTIONS for streams in (1, 8, 64)]
ROUND_TRIPS = [f"rtt {count}" for count in (1, 64, 1000)]


def rows(results, peers):
    judge = Judge(results, [name for name in peers if name not in (OWN, "direct")])
    udp = [f"udp {size}" for size in SIZES]
    return [
        *judge.against("CPU per GiB at most 0.8 of haproxy with splice", BULK, "cpu_per_gib", 0.8, "haproxy-splice"),
        *judge.against("CPU per GiB at most 0.45 of `copy_bidirectional`", BULK, "cpu_per_gib", 0.45, "copy_bidirectional"),
        *judge.against("CPU per GiB the lowest of all", BULK, "cpu_per_gib"),
        *judge.against("throughput the highest of all", BULK, "gib_per_second", more=True),
        *judge.limit("spliced bytes above 95 %", BULK, "spliced", above=95, unit=" %"),
        *judge.against("CPU per connection no worse than the best peer", ["connections"], "cpu_us"),
        *judge.against("connection's p50 no worse than the best peer", ["connections"], "p50"),
        *judge.against("connection's p99 no worse than the best peer", ["connections"], "p99"),
        *judge.against("CPU per round trip no worse than the best peer", ROUND_TRIPS, "cpu_us"),
        *judge.against("round trip's p50 no worse than the best peer", ROUND_TRIPS, "p50"),
        *judge.against("round trip's p99 no worse than the best peer", ROUND_TRIPS, "p99"),
        *judge.against("mouse's p99 no worse than the best peer", ["mice"], "p99"),
        *judge.limit("an idle connection at most 2 KiB", ["idle", "idle-many"], "kib", most=2, unit=" KiB"),
        *judge.limit("an idle connection 2 descriptors", ["idle", "idle-many"], "descriptors", most=2),
        *judge.against("UDP datagrams a second without loss above nginx", udp, "per_second", peer="nginx", more=True),
        *judge.against("UDP datagrams a second without loss above realm", udp, "per_second", peer="realm", more=True),
        *judge.limit("a UDP session at most 4 KiB", ["sessions"], "kib", most=4, unit=" KiB"),
    ]
