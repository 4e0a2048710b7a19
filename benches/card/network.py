"""surge-ping and netdev: whose answers are believed, round trips, hosts that are lost, many interfaces."""
import subprocess, sys, time

from common.process import Process
from icmp import measures, tools
from icmp.measures import Measure
from icmp.network import ALIVE, FAR

from . import worlds
from .defect import card, defect, netjobs

SURGE = "surge-ping"
# Answers echo requests of our namespace's link, wrongly: `payload` other bytes, `checksum` a wrong one.
FORGER = """
import socket, struct, sys
def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
print("ready", flush=True)
while True:
    packet, (host, _) = raw.recvfrom(65536)
    icmp = packet[(packet[0] & 15) * 4:]
    if icmp[0] != 8:
        continue
    payload = b"FORGED!!" * (len(icmp[8:]) // 8) if sys.argv[1] == "payload" else icmp[8:]
    head = struct.pack("!BBHHH", 0, 0, 0, *struct.unpack("!HH", icmp[4:8]))
    total = checksum(head + payload) ^ (0x5555 if sys.argv[1] == "checksum" else 0)
    raw.sendto(struct.pack("!BBH", 0, 0, total) + head[4:] + payload, (host, 0))
"""


def asked():
    """What one ping of each came to, and whether surge-ping called it an answer."""
    network = worlds.world().network
    theirs = " ".join(card("surge", FAR, network=network.ours))
    out, _ = netjobs("ping", FAR, "--count", "1", "--timeout", "1s", "--json", network=network.ours)
    found = tools.record(out)
    return theirs, f"{found['verdict']}, {found['reason'] or 'answered'}", theirs.startswith("ok")


def forged(how):
    peer = worlds.world().network.peer
    peer.sh("sysctl -qw net.ipv4.icmp_echo_ignore_all=1")
    try:
        forger = Process("forger", [sys.executable, "-c", FORGER, how], network=peer, stdout=subprocess.PIPE)
        try:
            forger.popen.stdout.readline()
            return asked()
        finally:
            forger.end()
    finally:
        peer.sh("sysctl -qw net.ipv4.icmp_echo_ignore_all=0")


@defect(SURGE, "a host's answer has other bytes than were sent", "payload")
def payload():
    return forged("payload")


@defect(SURGE, "an answer with a wrong checksum", "checksum")
def wrong_checksum():
    return forged("checksum")


@defect(SURGE, "a router says that the host is unreachable (type 3)", "unreachable")
def unreachable():
    peer = worlds.world().network.peer
    peer.sh("nft add table ip card; nft 'add chain ip card in { type filter hook input priority 0; }'\n"
            "nft add rule ip card in icmp type echo-request reject with icmp type host-unreachable")
    try:
        return asked()
    finally:
        peer.sh("nft delete table ip card")


def tool(name):
    return next(tool for tool in tools.TOOLS if tool.name == name)


@defect(SURGE, "median round trip of 65,536 hosts, 256 at a time, beside the kernel's stamps of the same packets", "rtt")
def rtt():
    measure = Measure("card", "sweep rtt", measures.swept_rtts, limit=60)
    theirs, ours = (measure.sample(worlds.world(), tool(name)) for name in (SURGE, "netjobs"))
    tell = lambda found: f"{found['p50']:.0f} µs told, {found['low50']:.0f} to {found['high50']:.0f} µs true; single ones off by {found['each']:.0f} % (median)"
    return tell(theirs), tell(ours), theirs["off50"] > 20


@defect(SURGE, "65,536 hosts that are all alive, a task a host", "tasks")
def tasks():
    measure = Measure("card", "alive", measures.swept, limit=60, network=ALIVE)
    theirs, ours = (measure.sample(worlds.world(), tool(name)) for name in (f"{SURGE}, task a host", "netjobs"))
    tell = lambda found: f"{found['found']:,} found in {found['wall']:.1f} s"
    return tell(theirs), tell(ours), theirs["missed"] > 0


@defect("netdev", "500 interfaces more", "interfaces")
def interfaces():
    ours = worlds.world().network.ours
    ours.sh("for number in $(seq 250); do ip link add a$number type veth peer name b$number; done")
    try:
        count, seconds = card("netdev", network=ours)
        out, _ = netjobs("interfaces", "--json", network=ours)
        took = tools.record(out)["duration_seconds"]
    finally:
        ours.sh("for number in $(seq 250); do ip link del a$number; done")
        time.sleep(0.1)
    return f"{count} in {float(seconds) * 1e3:.1f} ms", f"the same in {took * 1e3:.1f} ms", float(seconds) > 2 * took
