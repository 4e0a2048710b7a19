"""Targets, judged by what was measured in the same run."""
import statistics

OWN = "netjobs"


class Judge:
    """Rows of a table: what ours is asked for, what was measured, whether that is met."""

    def __init__(self, results, peers, own=OWN):
        self.results, self.peers, self.own = results, peers, own

    def best(self, measure, figure, more=False):
        """The peer with the best median, or nobody."""
        found = [(self.results.median(measure, name, figure), name) for name in self.peers]
        found = [(value, name) for value, name in found if value is not None]
        return (max if more else min)(found)[1] if found else None

    def against(self, title, measures, figure, factor=1.0, peer=None, more=False):
        """Own ÷ peer's (or the best peer's) for each measurement; `more`: the higher the better."""
        parts, verdicts = [], []
        for measure in measures:
            other = peer or self.best(measure, figure, more)
            mine, theirs = self.results.median(measure, self.own, figure), other and self.results.median(measure, other, figure)
            if mine is None and self.failed(measure, parts):
                verdicts.append("missed")
            if mine is None or not theirs:
                continue
            ratio = mine / theirs
            met = ratio >= factor if more else ratio <= factor
            parts.append(f"{measure}: {ratio:.2f}" + ("" if peer else f" × {other}"))
            verdicts.append("met" if met else "close" if self.overlap(measure, other, figure, factor) else "missed")
        return self.row(title, parts, verdicts)

    def overlap(self, measure, other, figure, factor):
        """Whether the spread of the runs leaves it open who is ahead."""
        mine = self.results.values(measure, self.own, figure)
        theirs = [value * factor for value in self.results.values(measure, other, figure)]
        return min(mine) <= max(theirs) and min(theirs) <= max(mine)

    def limit(self, title, measures, figure, most=None, least=None, above=None, unit="", always=False):
        """The median, or with `always` each single figure, within limits."""
        parts, verdicts = [], []
        for measure in measures:
            values = [round(value, 2) for value in self.results.values(measure, self.own, figure)]
            if not values:
                if self.failed(measure, parts):
                    verdicts.append("missed")
                continue
            judged = values if always else [round(statistics.median(values), 2)]
            shown = sorted({min(judged), max(judged)})
            parts.append(f"{measure}: " + "–".join(f"{value:g}" for value in shown) + unit)
            within = all((most is None or value <= most) and (least is None or value >= least) and (above is None or value > above) for value in judged)
            verdicts.append("met" if within else "missed")
        return self.row(title, parts, verdicts)

    def failed(self, measure, parts):
        """Whether ours was asked and gave no figure, which is no way to meet a target."""
        reasons = self.results.failures.get((measure, self.own), [])
        parts += [f"{measure}: {reasons[0]}"] if reasons else []
        return bool(reasons)

    @staticmethod
    def row(title, parts, verdicts):
        if not parts:
            return []
        missed, close = verdicts.count("missed"), verdicts.count("close")
        verdict = "met" if not missed and not close else f"missed in {missed + close} of {len(verdicts)}"
        if close:
            verdict += f", {close} within the spread of the runs"
        return [[title, "; ".join(parts), verdict]]
