"""The job files of the soak: a set of every kind that stays, what reloads change in it, and sets that are wrong."""
import json

HOST, WEB = "127.0.0.1", "127.0.0.1:9750"
# Upstreams: one that stays, one that is killed; and the forwards before them.
UPSTREAM, KILLED = f"{HOST}:6001", f"{HOST}:6002"
STEADY, SHORT, FLAKY, DATAGRAMS, EXTRA = (f"{HOST}:{7001 + number}" for number in range(5))
PINGS, MORE = 20, 50
PEERS = "10.99.0"


def services(folder):
    return [{"name": "steady", "forward": {"listen": STEADY, "to": UPSTREAM}},
            {"name": "flaky", "forward": {"listen": FLAKY, "to": KILLED, "health": {KILLED: "killed-is-up"}}},
            {"name": "datagrams", "forward": {"listen": f"udp://{DATAGRAMS}", "to": f"udp://{UPSTREAM}", "idle_timeout": "2s"}},
            {"name": "through-a-file", "forward": {"listen": f"unix://{folder}/forward.sock", "to": "job:echo"}},
            {"name": "echo", "echo": {"listen": f"{HOST}:7100"}},
            {"name": "echo-datagrams", "echo": {"listen": f"udp://{HOST}:7100"}}]


def checks():
    """Each kind once a second, and each way to go about it."""
    kinds = {
        "killed-is-up": {"wait": {"for": f"tcp://{KILLED}", "timeout": "800ms"}},
        "wait-http": {"wait": {"for": f"http://{WEB}/-/healthy", "timeout": "900ms"}},
        "wait-icmp": {"wait": {"for": f"icmp://{PEERS}.7", "timeout": "900ms"}},
        "exchange": {"exchange": {"to": "job:echo", "send": "random: 64KiB", "count": 3}},
        "exchange-datagrams": {"exchange": {"to": "job:echo-datagrams", "send": "hello"}},
        "exchange-forward": {"exchange": {"to": "job:short", "send": "random: 8KiB"}},
        "exchange-file": {"exchange": {"to": "job:through-a-file", "send": "random: 8KiB"}},
        "interfaces": {"interfaces": {}},
        "ipv6": {"ipv6": {}, "expect": {}},
        "ipc": {"ipc": {"via": "socketpair", "messages": 10}},
        "ipc-file": {"ipc": {"via": "unix_datagram", "messages": 10}},
        "ping-ipv6": {"ping": {"host": "::1", "count": 1, "timeout": "900ms"}},
        "sweep": {"sweep": {"targets": [f"{PEERS}.0/24"], "rate": "max", "timeout": "300ms"}},
        "sweep-tcp": {"sweep": {"targets": [f"{PEERS}.0/28"], "method": "tcp/22", "rate": "max", "timeout": "300ms"}},
    }
    slow = {"sweep-wide": ("10s", {"targets": ["10.99.16.0/20"], "rate": "max", "timeout": "300ms"}),
            "sweep-dead": ("20s", {"targets": ["10.98.0.0/22"], "rate": "max", "timeout": "300ms", "passes": 1}),
            "sweep-link": ("20s", {"targets": ["10.96.0.0/22"], "rate": "max", "timeout": "300ms"})}
    return ([{"name": name, "every": "1s", **body} for name, body in kinds.items()]
            + [{"name": name, "every": every, "sweep": keys} for name, (every, keys) in slow.items()])


def pings(numbers, prefix="ping", **keys):
    return [{"name": f"{prefix}-{number}", "every": "1s", "ping": {"host": f"{PEERS}.{number + 1}", "count": 1, "timeout": "900ms"} | keys} for number in numbers]


def short(**keys):
    return [{"name": "short", "forward": {"listen": SHORT, "to": UPSTREAM} | keys}]


def base(folder):
    return services(folder) + short() + checks() + pings(range(PINGS))


def added(folder):
    """Jobs come, and the forward that many use changes."""
    extra = [{"name": "extra", "forward": {"listen": EXTRA, "to": UPSTREAM}},
             {"name": "extra-up", "every": "1s", "wait": {"for": "job:extra", "timeout": "900ms"}}]
    return services(folder) + short(allow=["127.0.0.0/8"]) + checks() + pings(range(PINGS)) + extra + pings(range(MORE), "more")


def removed(folder):
    """Jobs go, and others become other jobs of the same name."""
    return services(folder) + short(connect_timeout="3s") + checks() + pings(range(PINGS // 2), size=100)


def mistaken(folder):
    """A key that there is not, in one of many jobs."""
    return added(folder) + [{"name": "wrong", "every": "1s", "ping": {"host": HOST, "cuont": 1}}]


def occupied(folder):
    """Nothing is wrong with the file, but one of its ports is taken."""
    return removed(folder) + [{"name": "taken", "forward": {"listen": UPSTREAM, "to": KILLED}}]


def text(jobs):
    return json.dumps({"jobs": jobs}, indent=1) + "\n"


# A reload each; a round has them all. Whether it must be taken.
ROUND = [(lambda folder: text(base(folder)), True), (lambda folder: text(added(folder)), True), (lambda folder: text(mistaken(folder)), False),
         (lambda folder: text(removed(folder)), True), (lambda folder: text(occupied(folder)), False), (lambda folder: text(base(folder))[:-100], False)]
