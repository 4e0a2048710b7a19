"""The tools: how each is told to sweep or ping, and how what it found is read. Each is run as its own manual recommends."""
import ipaddress, json, pathlib, re, subprocess

from common import install as installing
from common.tables import ROOT, locked, version
from common.turns import Unfit

from .network import ALIVE, DEVICE, LINK_DEVICE, NEAR, addresses

LOAD, SMALL = ROOT / "benches/icmp/load", ROOT / "benches/icmp/small"
MEASURED, SURGE, SMALL_BUILT = (folder / f"target/release/{name}" for folder, name in
                                ((LOAD, "measured"), (LOAD, "surge"), (SMALL, "netjobs-icmp-small")))
BINARY = ROOT / "target/release/netjobs"
SMALL_BUFFER = 8 << 10

# What has to be there: Debian package.
PACKAGES = {"/usr/bin/fping": "fping", "/usr/bin/nmap": "nmap", "/usr/sbin/zmap": "zmap", "/usr/bin/masscan": "masscan",
            "/usr/sbin/arp-scan": "arp-scan", "/usr/bin/ping": "iputils-ping", "/usr/sbin/nft": "nftables", "/usr/sbin/ip": "iproute2"}


class Sweep:
    """What a tool is asked for: a network, probes a second (all it can where `None`), passes, milliseconds, and whether it lists hosts."""

    def __init__(self, network=ALIVE, rate=None, passes=1, timeout=500, listing=False):
        self.network, self.rate, self.passes, self.timeout, self.listing = ipaddress.ip_network(network), rate, passes, timeout, listing
        self.first = self.network[0]

    def small(self):
        """The same as JSON for the library."""
        rate = f"{self.rate}/s" if self.rate else "max"
        return json.dumps({"targets": [str(self.network)], "edges": "include", "rate": rate, "passes": self.passes,
                           "timeout": f"{self.timeout}ms", "report": "none"})


class Tool:
    """`commands`: what it takes part in → the command; the gateway's link address is given to those that make frames themselves."""

    def __init__(self, name, program, commands, found=None, rtts=None, pings=None):
        self.name, self.program, self.commands = name, program, commands
        self.found, self.rtts, self.pings = found or listed, rtts, pings
        # fping says by 1 that somebody did not answer.
        self.codes = (0, 1) if name.startswith("fping") else (0,)

    def asked(self, hosts):
        """Of so many hosts of a network; fping leaves its first and its last out."""
        return hosts - 2 if self.name.startswith("fping") and hosts > 2 else hosts


def use(binary):
    """Measures another netjobs than the one that is built here."""
    global BINARY
    BINARY = binary.resolve() if binary else BINARY


def listed(out, network):
    """Hosts in what a tool printed; what it says of itself stands behind `#`."""
    return len(addresses(re.sub(r"^#.*", "", out, flags=re.M), network))


def record(out):
    """The last record of netjobs."""
    for line in reversed(out.splitlines()):
        if '"run_finished"' in line:
            return json.loads(line)
    raise Unfit("it gave no record")


def netjobs(sweep, _=None):
    rate = f"{sweep.rate}/s" if sweep.rate else "max"
    return [BINARY, "sweep", sweep.network, "--edges", "include", "--rate", rate, "--passes", sweep.passes, "--timeout", f"{sweep.timeout}ms",
            "--report", "all" if sweep.listing else "none", "--json"]


def netjobs_found(out, network):
    """What it counted; where it lists its hosts, those of them that are of the network and alive."""
    found = record(out)
    hosts = (found["detail"] or {}).get("hosts") if "detail" in found else None
    if not hosts:
        return found["samples"]["alive"]
    return len(addresses(" ".join(host["host"] for host in hosts if host["state"] == "alive"), network))


def fping(how):
    def command(sweep, _=None):
        pace = 1000 / sweep.rate if sweep.rate else 0
        return ["/usr/bin/fping", *how, "-i", f"{pace:g}", "-r", sweep.passes - 1, "-B", 1, "-t", sweep.timeout, "-g", sweep.network]
    return command


def fping_summary(out, _):
    return int(re.search(r"(\d+) alive", out)[1])


def nmap(form):
    def command(sweep, _=None):
        rate = ["--min-rate", sweep.rate, "--max-rate", sweep.rate] if sweep.rate else []
        return ["/usr/bin/nmap", "-sn", "-n", "-PE", "-T5", *rate, "--max-retries", min(sweep.passes - 1, 10), "--max-rtt-timeout", f"{sweep.timeout}ms",
                form, "-", sweep.network]
    return command


def zmap(sweep, gateway):
    return ["/usr/sbin/zmap", "-M", "icmp_echoscan", "-i", DEVICE, "-S", NEAR, "-G", gateway, "-b", "/dev/null", "-r", sweep.rate or 0,
            "-P", min(sweep.passes, 4), "-c", 1, "-q", "-o", "-", sweep.network]


def masscan(sweep, gateway):
    return ["/usr/bin/masscan", "--ping", "--adapter", DEVICE, "--adapter-ip", NEAR, "--router-mac", gateway, "--rate", sweep.rate or 10_000_000,
            "--retries", sweep.passes - 1, "--wait", 1, "-oL", "-", sweep.network]


def surge(tasks):
    return lambda sweep, _=None: [SURGE, "sweep", sweep.first, sweep.network.num_addresses, tasks, sweep.timeout, sweep.passes]


def pairs(pattern, scale):
    """Reads address → seconds."""
    return lambda out: {host: float(span) * scale for host, span in re.findall(pattern, out, re.M | re.S)}


def netjobs_rtts(out):
    return {host["host"]: host["rtt"] for host in record(out)["detail"]["hosts"] if "rtt" in host}


def netjobs_pings(out):
    answers = (json.loads(line) for line in out.splitlines() if '"answer"' in line)
    return [answer["rtt_seconds"] for answer in answers if answer["rtt_seconds"]]


def spans(pattern, scale):
    return lambda out: [float(span) * scale for span in re.findall(pattern, out, re.M)]


SWEEPS = ("alive", "rate", "dead", "loss")
TOOLS = [
    Tool("netjobs", None, dict.fromkeys((*SWEEPS, "sweep rtt", "link"), netjobs) | {
        "ping": lambda host, count, pause: [BINARY, "ping", host, "--count", count, "--interval", f"{pause}ms", "--timeout", "1s", "--json"]},
         netjobs_found, netjobs_rtts, netjobs_pings),
    Tool("netjobs, hosts listed", None, {"alive": lambda sweep, _=None: netjobs(Sweep(sweep.network, listing=True))}, netjobs_found),
    # The buffer is then what `net.core.rmem_max` lets everybody have.
    Tool("netjobs, no CAP_NET_ADMIN", None, {"alive": lambda sweep, _=None: ["/usr/bin/setpriv", "--bounding-set=-net_admin", *netjobs(sweep)]}, netjobs_found),
    Tool("netjobs, 8 KiB buffer", None, {"alive": lambda sweep, _=None: [SMALL_BUILT, SMALL_BUFFER, sweep.small()]}, netjobs_found),
    Tool("netjobs, method icmp", None, {"link": lambda sweep, _=None: [*netjobs(sweep), "--method", "icmp"]}, netjobs_found),
    Tool("fping -q", ["/usr/bin/fping", "-v"], dict.fromkeys(SWEEPS, fping(["-q", "-s"])), fping_summary),
    Tool("fping", ["/usr/bin/fping", "-v"], {"alive": fping(["-a"]), "link": fping(["-a"]), "sweep rtt": fping(["-e"]),
         "ping": lambda host, count, pause: ["/usr/bin/fping", "-C", count, "-p", pause, host]},
         None, pairs(r"^(\S+) is alive \(([\d.]+) ms\)", 1e-3), spans(r"bytes, ([\d.]+) ms", 1e-3)),
    Tool("ping (iputils)", ["/usr/bin/ping", "-V"],
         {"ping": lambda host, count, pause: ["/usr/bin/ping", "-n", "-c", count, "-i", pause / 1000, host]}, None, None, spans(r"time=([\d.]+) ms", 1e-3)),
    Tool("nmap", ["/usr/bin/nmap", "-V"], dict.fromkeys((*SWEEPS, "link"), nmap("-oG")) | {"sweep rtt": nmap("-oX")}, None,
         pairs(r'<address addr="([\d.]+)"(?:(?!<address).)*?<times srtt="(\d+)"', 1e-6)),
    Tool("zmap", ["/usr/sbin/zmap", "-V"], dict.fromkeys(SWEEPS, zmap)),
    Tool("masscan", ["/usr/bin/masscan", "-V"], dict.fromkeys(SWEEPS, masscan)),
    Tool("arp-scan", ["/usr/sbin/arp-scan", "-V"], {"link": lambda sweep, _=None: ["/usr/sbin/arp-scan", "--interface", LINK_DEVICE, "-B", "100M", "-r", 1,
                                                                                  "-t", sweep.timeout, "-q", sweep.network]}),
    Tool("surge-ping", None, dict.fromkeys(("alive", "sweep rtt", "link"), surge(256)) | {
        "ping": lambda host, count, pause: [SURGE, "ping", host, count, pause]}, None, pairs(r"^(\S+) ([\d.]+)$", 1), spans(r"^\S+ ([\d.]+)$", 1)),
    Tool("surge-ping, task a host", None, dict.fromkeys(("alive", "dead", "loss", "sweep rtt"), surge(0)), None, pairs(r"^(\S+) ([\d.]+)$", 1)),
]


def install(small):
    """Installs the Debian packages that are missing and builds the load; `small`: the sweep with a small buffer, too."""
    installing.packages(PACKAGES)
    installing.cargo(LOAD)
    if small:
        try:
            installing.cargo(SMALL)
        except subprocess.CalledProcessError as error:
            # Only its own row goes without.
            print(f"the sweep with a small buffer was not built: {error}")
            pathlib.Path(SMALL_BUILT).unlink(missing_ok=True)


def versions():
    """Name → version, as the program itself says it."""
    found = {"netjobs": version([BINARY, "--version"]), "surge-ping": locked("surge-ping", LOAD)}
    return found | {tool.name: version(tool.program) for tool in TOOLS if tool.program}
