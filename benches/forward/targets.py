"""The targets of the design, judged by what was measured in the same run."""
from .measures import DIRECTIONS, SIZES

OWN = "netjobs"
BULK = [f"bulk {direction} {streams}" for direction in DIRECTIONS for streams in (1, 8, 64)]
ROUND_TRIPS = [f"rtt {count}" for count in (1, 64, 1000)]


class Judge:
    def __init__(self, results, peers):
        self.results, self.peers = results, [name for name in peers if name not in (OWN, "direct")]

    def best(self, measure, figure, more=False):
        """The peer with the best median, or nobody."""
        found = [(self.results.median(measure, name, figure), name) for name in self.peers]
        found = [(value, name) for value, name in found if value is not None]
        return (max if more else min)(found)[1] if found else None

    def against(self, title, measures, figure, factor=1.0, peer=None, more=False):
        """A row: own ÷ peer's (or the best peer's) for each measurement; `more`: the higher the better."""
        parts, verdicts = [], []
        for measure in measures:
            other = peer or self.best(measure, figure, more)
            mine, theirs = self.results.median(measure, OWN, figure), other and self.results.median(measure, other, figure)
            if mine is None or not theirs:
                continue
            ratio = mine / theirs
            met = ratio >= factor if more else ratio <= factor
            parts.append(f"{measure}: {ratio:.2f}" + ("" if peer else f" × {other}"))
            verdicts.append("met" if met else "close" if self.overlap(measure, other, figure, factor) else "missed")
        return self.row(title, parts, verdicts)

    def overlap(self, measure, other, figure, factor):
        """Whether the spread of the runs leaves it open who is ahead."""
        mine = self.results.values(measure, OWN, figure)
        theirs = [value * factor for value in self.results.values(measure, other, figure)]
        return min(mine) <= max(theirs) and min(theirs) <= max(mine)

    def limit(self, title, measures, figure, most=None, above=None, unit=""):
        parts, verdicts = [], []
        for measure in measures:
            value = self.results.median(measure, OWN, figure)
            if value is None:
                continue
            value = round(value, 2)
            parts.append(f"{measure}: {value:g}{unit}")
            verdicts.append("met" if (value <= most if most is not None else value > above) else "missed")
        return self.row(title, parts, verdicts)

    @staticmethod
    def row(title, parts, verdicts):
        if not parts:
            return []
        missed, close = verdicts.count("missed"), verdicts.count("close")
        verdict = "met" if not missed and not close else f"missed in {missed + close} of {len(verdicts)}"
        if close:
            verdict += f", {close} within the spread of the runs"
        return [[title, "; ".join(parts), verdict]]

    def rows(self):
        udp = [f"udp {size}" for size in SIZES]
        return [
            *self.against("CPU per GiB at most 0.8 of haproxy with splice", BULK, "cpu_per_gib", 0.8, "haproxy-splice"),
            *self.against("CPU per GiB at most 0.45 of `copy_bidirectional`", BULK, "cpu_per_gib", 0.45, "copy_bidirectional"),
            *self.against("CPU per GiB the lowest of all", BULK, "cpu_per_gib"),
            *self.against("throughput the highest of all", BULK, "gib_per_second", more=True),
            *self.limit("spliced bytes above 95 %", BULK, "spliced", above=95, unit=" %"),
            *self.against("CPU per connection no worse than the best peer", ["connections"], "cpu_us"),
            *self.against("connection's p50 no worse than the best peer", ["connections"], "p50"),
            *self.against("connection's p99 no worse than the best peer", ["connections"], "p99"),
            *self.against("CPU per round trip no worse than the best peer", ROUND_TRIPS, "cpu_us"),
            *self.against("round trip's p50 no worse than the best peer", ROUND_TRIPS, "p50"),
            *self.against("round trip's p99 no worse than the best peer", ROUND_TRIPS, "p99"),
            *self.against("mouse's p99 no worse than the best peer", ["mice"], "p99"),
            *self.limit("an idle connection at most 2 KiB", ["idle", "idle-many"], "kib", most=2, unit=" KiB"),
            *self.limit("an idle connection 2 descriptors", ["idle", "idle-many"], "descriptors", most=2),
            *self.against("UDP datagrams a second without loss above nginx", udp, "per_second", peer="nginx", more=True),
            *self.against("UDP datagrams a second without loss above realm", udp, "per_second", peer="realm", more=True),
            *self.limit("a UDP session at most 4 KiB", ["sessions"], "kib", most=4, unit=" KiB"),
        ]
