"""What is measured: each measurement's load, and the figures that come of one sample."""
import json, select, subprocess, sys, time

from common.process import Process
from common.turns import Unfit

from .peers import BUILT, HOST, Running

GIB = 1 << 30
SIZES = (64, 512, 1472, 9000)
DIRECTIONS = ("download", "upload", "both")
TCP_ONLY = "TCP only"


class Load:
    """The load beside a forwarder; it waits for a word before and after what is measured."""

    def __init__(self, kind, running, limit, network=None, **words):
        words |= {"listen": f"{HOST}:{running.to}", "to": f"{HOST}:{running.listen}", "limit": limit}
        self.end_time = time.monotonic() + limit + 5
        command = [BUILT / "load", kind, *(f"{key}={value}" for key, value in words.items())]
        self.process = Process("load", command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sys.stderr, network=network)
        try:
            line = self.line()
            if line != "ready":
                raise Unfit(json.loads(line)["error"])
        except BaseException:
            self.process.end()
            raise

    def line(self):
        out = self.process.popen.stdout
        if not select.select([out], [], [], max(0, self.end_time - time.monotonic()))[0]:
            raise Unfit("the load gave no answer")
        line = out.readline().decode().strip()
        if not line:
            raise Unfit("the load ended")
        return line

    def word(self):
        self.process.popen.stdin.write(b"\n")
        self.process.popen.stdin.flush()

    def run(self):
        """Lets it run and returns what it found; what it opened stays open until `end`."""
        self.word()
        found = json.loads(self.line())
        if "error" in found:
            raise Unfit(found["error"])
        return found

    def end(self):
        self.process.end()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


class Measure:
    """`figures(found, cpu seconds, before, after)` makes one sample of what the load found."""

    def __init__(self, key, kind, figures, refusal=None, protocol="tcp", length=1.0, limit=20, runs=None, **words):
        self.key, self.kind, self.figures, self.protocol, self.words = key, kind, figures, protocol, words
        # The name under which a forwarder may refuse to take part; and how long, relative to the usual time.
        self.refusal, self.length, self.limit, self.runs = refusal or key, length, limit, runs

    def why_not(self, peer):
        if self.protocol != "tcp" and not peer.udp:
            return True, TCP_ONLY
        return self.refusal in peer.refuses, peer.refuses.get(self.refusal)

    def sample(self, peer, seconds):
        with Running(peer, self.protocol) as running:
            with Load(self.kind, running, self.limit, seconds=seconds * self.length, **self.words) as load:
                before = State(running)
                found = load.run()
                after = State(running)
            if running.process and not running.process.alive():
                raise Unfit("it ended")
        return self.figures(found, before, after)


class State:
    """A forwarder's books at a quiet moment."""

    def __init__(self, running):
        process = running.process
        self.cpu = process.account.seconds() if process else None
        self.kib = process.memory_kib() if process else None
        self.descriptors = process.descriptors() if process else None
        self.spliced = running.metric("netjobs_forward_spliced_bytes_total") if running.web else None


def per(before, after, count, scale=1.0):
    """CPU per unit; nothing for `direct`, which has no process."""
    return None if before.cpu is None or not count else (after.cpu - before.cpu) / count * scale


def bulk(found, before, after):
    return {"cpu_per_gib": per(before, after, found["bytes"], GIB), "gib_per_second": found["bytes_per_second"] / GIB,
            "spliced": None if before.spliced is None else (after.spliced - before.spliced) / found["bytes"] * 100}


def messages(found, before, after):
    return {"cpu_us": per(before, after, found["count"], 1e6), "per_second": found["per_second"],
            "p50": found["p50_us"], "p99": found["p99_us"], "p999": found["p999_us"]}


def mice(found, before, after):
    return {"p50": found["p50_us"], "p99": found["p99_us"], "gib_per_second": found["bytes_per_second"] / GIB}


def held(unit):
    def figures(found, before, after):
        return {"kib": (after.kib - before.kib) / found[unit], "descriptors": (after.descriptors - before.descriptors) / found[unit]}
    return figures


def packets(found, before, after):
    return {"cpu_us": per(before, after, found["count"], 1e6), "lost": (1 - found["count"] / found["sent"]) * 100}


def zero_loss(found, before, after):
    return {"per_second": found["per_second"]}


MEASURES = [
    *(Measure(f"bulk {direction} {streams}", "bulk", bulk, "bulk", direction=direction, streams=streams, limit=30)
      for direction in DIRECTIONS for streams in (1, 8, 64)),
    Measure("connections", "connections", messages, concurrency=16),
    *(Measure(f"rtt {count}", "roundtrips", messages, "rtt", connections=count, size=64) for count in (1, 64, 1000)),
    Measure("mice", "mice", mice, length=2.0, streams=8, pause=0.002),
    Measure("idle", "idle", held("connections"), connections=3000, limit=20, runs=3),
    Measure("idle-many", "idle", held("connections"), connections=9000, limit=25, runs=3),
    *(Measure(f"udp {size}", "zero-loss", zero_loss, "udp", "udp", length=0.15, size=size, limit=40) for size in SIZES),
    *(Measure(f"udp-cpu {size}", "packets", packets, "udp-cpu", "udp", length=0.6, size=size, rate=10000) for size in SIZES),
    Measure("sessions", "sessions", held("sessions"), protocol="udp", count=5000, limit=40, runs=3),
]
