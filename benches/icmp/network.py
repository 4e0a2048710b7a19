"""The networks that are swept: ours and a peer, joined by two veth pairs, one routed and one on-link."""
import ipaddress, json, re

from common.netns import Namespace

# All 65,536 live in the peer; of the second, nobody, and nothing answers for them; the third is for others' company.
ALIVE, DEAD, COMPANY = "10.99.0.0/16", "10.98.0.0/16", "10.94.0.0/16"
NEAR, FAR = "10.90.0.1", "10.90.0.2"
# 4,096 addresses of one link, of which each sixteenth lives.
LINK, LINK_OWN = "10.96.0.0/20", "10.96.0.1"
LINK_ALIVE = set(list(ipaddress.ip_network(LINK))[7::16])
DEVICE, LINK_DEVICE = "bench0", "link0"
COUNTERS = "ip netjobs"


class Network:
    """Both namespaces; what is set up is gone with them."""

    def __init__(self):
        self.ours, self.peer = Namespace(), Namespace()
        self.ours.sh(f"""
            ip link add {DEVICE} type veth peer name {DEVICE} netns {self.peer.path()}
            ip link add {LINK_DEVICE} type veth peer name {LINK_DEVICE} netns {self.peer.path()}
            ip addr add {NEAR}/24 dev {DEVICE}; ip link set {DEVICE} up
            ip addr add {LINK_OWN}/20 dev {LINK_DEVICE}; ip link set {LINK_DEVICE} up""")
        self.peer.sh(f"""
            ip addr add {FAR}/24 dev {DEVICE}; ip link set {DEVICE} up
            ip addr add {min(LINK_ALIVE)}/20 dev {LINK_DEVICE}; ip link set {LINK_DEVICE} up
            ip route add local {ALIVE} dev lo; ip route add local {COMPANY} dev lo
            {"; ".join(f"ip route add local {host} dev lo" for host in sorted(LINK_ALIVE)[1:])}
            ip route add blackhole {DEAD}""")
        for routed in (ALIVE, DEAD, COMPANY):
            self.ours.sh(f"ip route add {routed} via {FAR}")
        self.ours.sh(f"ping -q -c 3 -i 0.2 -W 5 {FAR}")

    def gateway(self):
        """The link address of the peer, for tools that make their own frames."""
        return json.loads(self.peer.sh(f"ip -j link show {DEVICE}"))[0]["address"]

    def count(self, ranges, loss=0):
        """Counts the echo requests that come to each of some networks, and drops some of a hundred; `requests` reads."""
        self.stop_counting()
        rules = "".join(f"nft add counter {COUNTERS} c{number}; nft add rule {COUNTERS} in ip daddr {each} icmp type echo-request counter name c{number}\n"
                        for number, each in enumerate(ranges))
        drop = f"nft add rule {COUNTERS} in icmp type echo-request numgen random mod 100 '<' {loss} drop" if loss else ""
        self.peer.sh(f"nft add table {COUNTERS}; nft 'add chain {COUNTERS} in {{ type filter hook prerouting priority 0; }}'\n{rules}{drop}")

    def requests(self):
        """What `count` counted, by network."""
        listed = json.loads(self.peer.sh(f"nft -j list counters table {COUNTERS}"))["nftables"]
        found = {entry["counter"]["name"]: entry["counter"]["packets"] for entry in listed if "counter" in entry}
        return [found[name] for name in sorted(found, key=lambda name: int(name[1:]))]

    def stop_counting(self):
        self.peer.sh(f"nft delete table {COUNTERS} 2>/dev/null || true")

    def forget_neighbours(self):
        """The table is one for the whole machine: what one tool leaves there must not be in the next one's way."""
        self.ours.sh(f"ip neigh flush dev {LINK_DEVICE} nud all")

    def neighbours(self):
        """Entries that a sweep of the link left, whatever their state."""
        return len(self.ours.sh(f"ip neigh show dev {LINK_DEVICE} nud all").splitlines())

    def close(self):
        self.ours.close()
        self.peer.close()


def table_overflows():
    """How often the machine's neighbour table was full, since it started."""
    lines = open("/proc/net/stat/arp_cache", encoding="ascii").read().splitlines()
    column = lines[0].split().index("table_fulls")
    return sum(int(line.split()[column], 16) for line in lines[1:])


def addresses(text, inside):
    """The different addresses in a text that are of a network, or of a set."""
    return {found for found in set(re.findall(r"(?<![\d.])\d+\.\d+\.\d+\.\d+(?![\d.])", text)) if ipaddress.ip_address(found) in inside}
