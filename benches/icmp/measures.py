"""What is measured of one run of a tool: hosts found, time, CPU, memory, packets, round trips."""
import json, os, pathlib, statistics, subprocess, tempfile

from common.process import Process
from common.turns import Hopeless, Unfit

from . import tools
from .network import ALIVE, FAR, LINK, LINK_ALIVE, Network, table_overflows
from .tools import Sweep
from .truth import Truth

ONE_HOST = "10.99.0.1/32"
# Of how many hosts one is looked at for its true round trip.
SAMPLED = 8


class World:
    """The networks, and what is measured once for all turns."""

    def __init__(self):
        self.network, self.bases = Network(), {}
        self.gateway = self.network.gateway()

    def run(self, command, limit):
        """Runs a command in our namespace to its end."""
        with tempfile.TemporaryDirectory(prefix="netjobs-bench-") as folder:
            files = {name: pathlib.Path(folder) / name for name in ("out", "err", "taken")}
            with files["out"].open("wb") as out, files["err"].open("wb") as err:
                busy = machine_seconds()
                process = Process("tool", [tools.MEASURED, files["taken"], *command], network=self.network.ours, stdout=out, stderr=err)
                try:
                    process.popen.wait(limit)
                except subprocess.TimeoutExpired:
                    raise Hopeless(f"not within {limit} s") from None
                finally:
                    busy = machine_seconds() - busy
                    process.end()
            text = {name: files[name].read_text(errors="replace") for name in ("out", "err")}
            if not files["taken"].exists():
                raise Unfit(f"it did not run: {text['err'][-300:]}")
            return Taken(json.loads(files["taken"].read_text()), text["out"], text["err"], busy)

    def sweep(self, tool, part, sweep, limit):
        return self.run(tool.commands[part](sweep, self.gateway), limit)

    def base_kib(self, tool, part):
        """What it takes for one host: its code, its libraries, its fixed buffers."""
        if tool.name not in self.bases:
            self.bases[tool.name] = self.sweep(tool, part, Sweep(ONE_HOST, listing=tool.name != "netjobs"), 20).peak_kib
        return self.bases[tool.name]

    def close(self):
        self.network.close()


class Taken:
    def __init__(self, taken, out, err, busy):
        self.wall, self.cpu, self.peak_kib, self.code = (taken[name] for name in ("wall", "cpu", "peak_kib", "code"))
        self.out, self.err, self.busy = out, err, busy

    def found(self, tool, network):
        if self.code not in tool.codes:
            raise Unfit(f"it ended with {self.code}: {self.err.strip()[-200:]}")
        # fping tells its sums on stderr.
        return tool.found(self.out if tool.found is not tools.fping_summary else self.err, network)


def machine_seconds():
    """CPU of the whole machine that was not idle, what nobody is charged for included."""
    user, nice, system, _, _, irq, softirq = map(int, open("/proc/stat", encoding="ascii").readline().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


class Measure:
    """`take(world, tool, measure)` makes one sample; `part` is what a tool must have a command for."""

    def __init__(self, key, part, take, runs=None, limit=15, **options):
        self.key, self.part, self.take, self.runs, self.limit, self.options = key, part, take, runs, limit, options
        self.word = key.split()[0]

    def why_not(self, tool):
        if self.part not in tool.commands:
            return True, None
        if tool.name == "netjobs, 8 KiB buffer" and not tools.SMALL_BUILT.exists():
            return True, "it was not built"
        return False, None

    def sample(self, world, tool):
        return self.take(world, tool, self)


def swept(world, tool, measure):
    sweep = Sweep(**measure.options)
    taken, hosts = world.sweep(tool, measure.part, sweep, measure.limit), sweep.network.num_addresses
    found = taken.found(tool, sweep.network)
    figures = {"found": found, "missed": tool.asked(hosts) - found, "wall": taken.wall, "cpu_us": taken.cpu / hosts * 1e6, "machine_us": taken.busy / hosts * 1e6,
               "peak_mib": taken.peak_kib / 1024, "over_mib": (taken.peak_kib - world.base_kib(tool, measure.part)) / 1024}
    if tool.found is tools.netjobs_found:
        figures["local_drops"] = tools.record(taken.out)["samples"]["local_drops"]
    return figures


def lossy(world, tool, measure):
    sweep = Sweep(passes=9)
    world.network.count([ALIVE], loss=10)
    try:
        taken = world.sweep(tool, measure.part, sweep, measure.limit)
        packets, = world.network.requests()
    finally:
        world.network.stop_counting()
    hosts = sweep.network.num_addresses
    found = taken.found(tool, sweep.network)
    return {"found": found, "missed": tool.asked(hosts) - found, "wall": taken.wall, "cpu_us": taken.cpu / packets * 1e6, "packets": packets / hosts}


def linked(world, tool, measure):
    world.network.forget_neighbours()
    overflows = table_overflows()
    taken = world.sweep(tool, measure.part, Sweep(LINK, listing=True), measure.limit)
    return {"found": taken.found(tool, LINK_ALIVE), "wall": taken.wall, "neighbours": world.network.neighbours(), "overflows": table_overflows() - overflows}


def quantile(values, share):
    """The value that so many of a hundred do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share / 100))]


def off(told, least, most):
    """How far, in %, from the nearer bound; 0 between them."""
    return (told / least - 1) * 100 if told < least else max(0.0, (told / most - 1) * 100)


def beside(told, true):
    """What a tool told, beside the bounds of the truth; µs."""
    if not told or not true:
        raise Unfit(f"{len(told)} round trips told, {len(true)} captured")
    figures = {"told": len(told) / len(true) * 100, "least": min(told) * 1e6}
    for share in (50, 99):
        here, bounds = quantile(told, share), [quantile(bound, share) for bound in zip(*true)]
        figures |= {f"p{share}": here * 1e6, f"low{share}": bounds[0] * 1e6, f"high{share}": bounds[1] * 1e6, f"off{share}": off(here, *bounds)}
    return figures


def pinged(world, tool, measure):
    with Truth(world.network) as truth:
        taken = world.run(tool.commands["ping"](FAR, measure.options["count"], measure.options["pause"]), measure.limit)
        true = truth.read()
    return beside(tool.pings(taken.out), list(true.values()))


def swept_rtts(world, tool, measure):
    with Truth(world.network, SAMPLED) as truth:
        taken = world.sweep(tool, measure.part, Sweep(listing=True), measure.limit)
        true = {host: bounds for (host, _, _), bounds in truth.read().items()}
    told = {host: span for host, span in tool.rtts(taken.out).items() if host in true}
    each = [abs(off(span, *true[host])) for host, span in told.items()]
    return beside(list(told.values()), list(true.values())) | {"each": statistics.median(each)}
