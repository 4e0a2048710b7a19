"""What is measured: each part's jobs, how long they are watched, and the figures that come of one run."""
import collections, math, time

from common.turns import Unfit

from . import subjects
from .subjects import Cron, Every, Netjobs, Tasks, Timer, TokioCron

ALL = (Netjobs, TokioCron, Timer, Tasks)
# All have started before; no start is cut off by the end.
WARM, REST = 3, 1.0
STOPPED, AFTER = 4, 8


class Part:
    """`figures(part, subject)` → one sample; `runs`: at most so many of it."""

    def __init__(self, key, jobs, schedule, seconds, figures, runs=None, of=ALL):
        self.key, self.jobs, self.schedule, self.seconds, self.figures, self.runs, self.of = key, jobs, schedule, seconds, figures, runs, of

    @property
    def word(self):
        return self.key.split()[0]

    def why_not(self, subject):
        return subject not in self.of, None

    def sample(self, subject):
        with subject(self.schedule, self.jobs) as running:
            return self.figures(self, running)


def window(part, running):
    """Lets it run; gives the whole seconds that were watched and the CPU's share of a core in them."""
    time.sleep(WARM)
    first = math.ceil(time.time())
    time.sleep(first - time.time())
    cpu = running.process.account.seconds()
    time.sleep(part.seconds)
    share = (running.process.account.seconds() - cpu) / (time.time() - first)
    time.sleep(REST)
    return first, first + part.seconds, share


def punctual(part, running):
    """How late the starts were, and how many of those that were due in the window never came."""
    first, last, share = window(part, running)
    taken = running.starts()
    late = sorted(started - due for _, due, started in taken.starts if first <= due < last)
    wanted = part.jobs * part.seconds // part.schedule.seconds
    at = lambda share: late[min(len(late) - 1, int(len(late) * share))] * 1e3
    found = {"p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "max": late[-1] * 1e3} if late else {}
    return found | {"lost": max(0, wanted - len(late)) / wanted * 100, "skipped": taken.skipped, "unlogged": taken.unlogged, "cpu": share * 100}


def idle(part, running):
    """CPU while hardly anything is due."""
    time.sleep(WARM)
    cpu, start = running.process.account.seconds(), time.monotonic()
    time.sleep(part.seconds)
    return {"cpu": (running.process.account.seconds() - cpu) / (time.monotonic() - start) * 100}


def paused(part, running):
    """The process is stopped for a while: who starts again, how soon, how often at once, and whether the rest is counted."""
    time.sleep(WARM + part.seconds)
    stopped = time.time()
    resumed = subjects.pause(running, STOPPED)
    time.sleep(AFTER)
    # What is due in the last second may not have come yet.
    healed, end = math.ceil(resumed + 2), math.floor(time.time())
    time.sleep(REST)
    found, dues = running.starts(), collections.defaultdict(list)
    for job, due, _ in found.starts:
        dues[job].append(due)
    if sum(1 for job in dues if min(dues[job]) < stopped) < part.jobs:
        raise Unfit("not all jobs had started before the pause")
    later = sorted((started, job) for job, _, started in found.starts if started >= resumed)
    firsts = dict(reversed([(job, started) for started, job in later]))
    at_once = collections.Counter(job for job, due, started in found.starts if due <= resumed <= started < resumed + 0.1)
    regular = sum(1 for _, due, _ in found.starts if healed <= due < end)
    missing = sum(round((max(of) - min(of)) / part.schedule.seconds) + 1 - len(of) for of in dues.values())
    return {"again": len(firsts), "first": max(firsts.values()) - resumed if firsts else None, "at_once": max(at_once.values(), default=0),
            "regular": regular / (part.jobs * (end - healed) / part.schedule.seconds) * 100, "missing": missing, "skipped": found.skipped}


PARTS = [
    Part("10000 jobs", 10_000, Every(1), 7, punctual),
    Part("1000 jobs", 1000, Every(1), 6, punctual),
    Part("1 job", 1, Every(1), 6, punctual, runs=3),
    Part("cron", 10_000, Cron(4), 8, punctual, runs=3, of=(Netjobs, TokioCron, Tasks)),
    Part("idle", 10_000, Every(3600), 12, idle, runs=3, of=(Netjobs, TokioCron, Timer)),
    Part("pause", 100, Every(1), 2, paused, runs=1, of=(Netjobs, TokioCron, Timer)),
]
