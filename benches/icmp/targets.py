"""The targets of the design, judged by what was measured in the same run."""
from common.judge import OWN, Judge

SWEEPS = ["alive max", "alive 50000", "alive 10000"]


def rows(results, taking):
    # Our own other ways are no rivals.
    judge = Judge(results, [tool.name for tool in taking if not tool.name.startswith(OWN)])
    small = Judge(results, [], own="netjobs, 8 KiB buffer")
    return [
        *judge.limit("all found, at every rate", [*SWEEPS, "loss"], "missed", most=0, always=True),
        *small.limit("all found with a receive buffer of 8 KiB", ["alive max"], "missed", most=0, always=True),
        *judge.limit("nobody found where nobody lives", ["dead"], "found", most=0, always=True),
        *judge.against("CPU per probe at most 0.8 of fping", ["alive max"], "cpu_us", 0.8, "fping -q"),
        *judge.against("CPU per probe the lowest of all", ["alive max"], "cpu_us"),
        *judge.against("wall the lowest of all", ["alive max"], "wall"),
        *judge.limit("memory at most 4 MiB for a /16", ["alive max", "dead"], "over_mib", most=4, unit=" MiB"),
        *judge.limit("a silent /16 within 3 s", ["dead"], "wall", most=3, unit=" s"),
        *judge.limit("at most 1.15 packets a host where one of ten is lost", ["loss"], "packets", most=1.15),
        *judge.limit("RTT p50 within 5 % of the truth", ["rtt alone", "rtt sweep"], "off50", least=-5, most=5, unit=" %"),
        *judge.limit("on-link 256 of 256", ["link"], "found", least=256),
        *judge.limit("on-link within 1 s", ["link"], "wall", most=1, unit=" s"),
        *judge.limit("on-link without an overflow of the neighbour table", ["link"], "overflows", most=0, always=True),
        *judge.limit("2,000 hosts at 1 Hz: at most 25 µs CPU a probe", ["steady"], "cpu_us", most=25, unit=" µs"),
        *judge.limit("2,000 hosts at 1 Hz: 2,000 probes a second", ["steady"], "per_second", least=1960, most=2040),
        *judge.against("a forward's p99 in company at most 1.1 of that alone", ["company"], "p99", 1.1, "netjobs, the forward alone"),
        *judge.limit("in company, the sweep of 1,000/s keeps its rate (± 5 %)", ["company"], "slow", least=950, most=1050),
        *judge.limit("in company, the sweep of 3,000/s keeps its rate (± 5 %)", ["company"], "fast", least=2850, most=3150),
        *judge.limit("one raw socket that receives", ["company"], "receiving", most=1, always=True),
    ]
