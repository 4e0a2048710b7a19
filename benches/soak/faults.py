"""The faults: one a slot, each begun and ended within it."""
import resource, signal, socket, time

from .jobsets import HOST, PEERS, WEB

LOSS = f"""nft add table ip soak; nft 'add chain ip soak in {{ type filter hook input priority 0; }}'
nft add rule ip soak in icmp type echo-request numgen random mod 100 '<' 30 drop
nft add rule ip soak in ip daddr {PEERS}.0/28 reject with icmp type host-unreachable"""
SCRAPES, SLOW = 50, 20


def nothing(rig, _):
    """So that each round has a slot in which all is well; the log is read again."""
    rig.log.goes_on.set()


def upstream_killed(rig, seconds):
    rig.killed.end()
    rig.started.remove(rig.killed)
    time.sleep(seconds)
    rig.killed = rig.upstream(f"{HOST}:6002")


def loss_and_rejects(rig, seconds):
    rig.network.peer.sh(LOSS)
    try:
        time.sleep(seconds)
    finally:
        rig.network.peer.sh("nft delete table ip soak")


def log_unread(rig, _):
    """To the end of the round, so that it fills all that there is for it."""
    rig.log.goes_on.clear()


def few_descriptors(rig, seconds):
    """Hardly any more than are open; then it is stopped for 2 s."""
    pid = rig.daemon.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (rig.daemon.descriptors() + 4, before[1]))
    try:
        time.sleep(seconds / 2)
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    rig.scraper.stopped.set()
    rig.daemon.popen.send_signal(signal.SIGSTOP)
    try:
        time.sleep(2)
    finally:
        rig.daemon.popen.send_signal(signal.SIGCONT)
    time.sleep(0.5)
    rig.scraper.stopped.clear()


def many_scrapes(rig, seconds):
    """So many at once; and clients of the pages that never finish asking."""
    def inside():
        address = (HOST, int(WEB.split(":")[1]))
        slow = [socket.create_connection(address, 5) for _ in range(SLOW)]
        for client in slow:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: soak\r\nX-")
        asking = [socket.create_connection(address, 5) for _ in range(SCRAPES)]
        for client in asking:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n")
        for client in asking:
            client.settimeout(10)
            while client.recv(1 << 16):
                pass
        time.sleep(seconds / 2)
        for client in slow + asking:
            client.close()
    rig.network.ours.call(inside)


# One a slot, in step with the reloads of a round.
FAULTS = [nothing, upstream_killed, loss_and_rejects, log_unread, few_descriptors, many_scrapes]
