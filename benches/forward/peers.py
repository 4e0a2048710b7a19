"""The forwarders: how each is started as its own manual recommends, and what it cannot do."""
import fcntl, itertools, os, pathlib, socket, tempfile, urllib.request

from common import install as installing
from common.process import Process, listens, until
from common.tables import ROOT, locked, version

LOAD = ROOT / "benches/forward/load"
BUILT = LOAD / "target/release"
BINARY = ROOT / "target/release/netjobs"
HOST = "127.0.0.1"
PROXYD = "/usr/lib/systemd/systemd-socket-proxyd"
NGINX_STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so"

# What has to be there: Debian package.
PACKAGES = {"/usr/sbin/haproxy": "haproxy", "/usr/sbin/nginx": "nginx-light", NGINX_STREAM: "libnginx-mod-stream", "/usr/bin/socat": "socat",
            "/usr/sbin/rinetd": "rinetd", "/usr/bin/redir": "redir", "/usr/bin/simpleproxy": "simpleproxy", PROXYD: "systemd", "/usr/bin/ss": "iproute2"}

# Fewer pipes than usual (a quarter of the connections), or the descriptors do not suffice for 9,000 connections.
HAPROXY = """global
  maxconn 9200
  maxpipes 500
defaults
  mode tcp
  maxconn 9200
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  {splice}
frontend in
  bind {host}:{listen}
  default_backend out
backend out
  server upstream {host}:{to}
"""

NGINX = """load_module {module};
daemon off;
user root;
pid {folder}/pid;
error_log /dev/null;
worker_processes auto;
worker_rlimit_nofile 20000;
events {{ worker_connections 20000; }}
stream {{ server {{ listen {host}:{listen}{options}; proxy_pass {host}:{to}; }} }}
"""

_ports = itertools.count(20000)


def free_port():
    """A port that nobody uses, outside the range that clients get theirs from; never the same one twice."""
    for port in _ports:
        if port > 32000:
            raise RuntimeError("no more ports")
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(socket.AF_INET, kind) as probe:
                    probe.bind((HOST, port))
            return port
        except OSError:
            continue


class Peer:
    """One forwarder's name and command; `command(listen, to, folder, protocol)` may write files into the folder."""

    def __init__(self, name, version, command, udp=False, refuses=None, **options):
        self.name, self.version, self.command, self.udp = name, version, command, udp
        # Measurement → why it is left out; `None`: it means nothing.
        self.refuses, self.options = refuses or {}, options


class Running:
    """A forwarder at work between two fresh ports."""

    def __init__(self, peer, protocol="tcp", **options):
        self.peer, self.listen, self.to = peer, free_port(), free_port()
        self.process, self.web = None, None
        if peer.command is None:
            self.listen = self.to
            return
        self.folder = tempfile.TemporaryDirectory(prefix="netjobs-bench-")
        try:
            options = peer.options | options
            handed = None
            if peer.name == "systemd-socket-proxyd":
                with socket.create_server((HOST, self.listen), backlog=4096) as server:
                    # Not number 3 yet: the shell moves it there.
                    handed = fcntl.fcntl(server, fcntl.F_DUPFD_CLOEXEC, 10)
                options["pass_fds"] = [handed]
            if peer.name == "netjobs":
                self.web = free_port()
            try:
                command = peer.command(self.listen, self.to, pathlib.Path(self.folder.name), protocol, handed or self.web)
                self.process = Process(peer.name, command, **options)
            finally:
                if handed:
                    os.close(handed)
            until(f"{peer.name} listens", 10, lambda: listens(self.listen, protocol) or not self.process.alive())
            if not self.process.alive():
                raise RuntimeError(f"{peer.name} ended with {self.process.popen.returncode}")
        except BaseException:
            self.end()
            raise

    def metric(self, name):
        """The sum of a family's samples on the forwarder's own page."""
        with urllib.request.urlopen(f"http://{HOST}:{self.web}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)

    def end(self):
        if self.process:
            self.process.end()
        if self.peer.command is not None:
            self.folder.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def use(binary):
    """Measures another netjobs than the one that is built here."""
    global BINARY
    BINARY = binary.resolve() if binary else BINARY


def netjobs(listen, to, folder, protocol, web):
    scheme = "udp://" if protocol == "udp" else ""
    # The usual limit of sessions is 4096, and 5,000 are measured.
    more = ", sessions: 6000" if protocol == "udp" else ""
    (folder / "jobs.yaml").write_text(f"jobs:\n  - name: bench\n    forward: {{ listen: '{scheme}{HOST}:{listen}', to: '{scheme}{HOST}:{to}'{more} }}\n")
    return [BINARY, "run", folder / "jobs.yaml", "--web.listen-address", f"{HOST}:{web}"]


def haproxy(splice):
    def command(listen, to, folder, protocol, _):
        (folder / "conf").write_text(HAPROXY.format(host=HOST, listen=listen, to=to, splice="option splice-auto" if splice else ""))
        return ["/usr/sbin/haproxy", "-db", "-q", "-f", folder / "conf"]
    return command


def nginx(listen, to, folder, protocol, _):
    options = " udp reuseport" if protocol == "udp" else " backlog=4096"
    (folder / "conf").write_text(NGINX.format(host=HOST, listen=listen, to=to, folder=folder, module=NGINX_STREAM, options=options))
    return ["/usr/sbin/nginx", "-c", folder / "conf", "-p", folder]


def socat(listen, to, folder, protocol, _):
    if protocol == "udp":
        return ["/usr/bin/socat", "-b65536", f"UDP4-LISTEN:{listen},bind={HOST},fork,reuseaddr", f"UDP4:{HOST}:{to}"]
    return ["/usr/bin/socat", f"TCP4-LISTEN:{listen},bind={HOST},fork,reuseaddr,nodelay,backlog=4096", f"TCP4:{HOST}:{to},nodelay"]


def rinetd(listen, to, folder, protocol, _):
    suffix = "/udp" if protocol == "udp" else ""
    (folder / "conf").write_text(f"pidlogfile {folder}/pid\n{HOST} {listen}{suffix} {HOST} {to}{suffix}\n")
    return ["/usr/sbin/rinetd", "-f", "-c", folder / "conf"]


def proxyd(listen, to, folder, protocol, descriptor):
    handed = f"exec {PROXYD} --connections-max=10000 {HOST}:{to} 3<&{descriptor} {descriptor}<&-"
    return ["/bin/bash", "-c", f"export LISTEN_PID=$$ LISTEN_FDS=1; {handed}"]


FORKS = "a process for each connection"
SIX = "6 descriptors a connection, and the hard limit is 20,000"
PEERS = [
    Peer("direct", None, None, udp=True, refuses=dict.fromkeys(("idle", "idle-many", "sessions", "udp-cpu"))),
    Peer("netjobs", None, netjobs, udp=True),
    Peer("haproxy-splice", ["/usr/sbin/haproxy", "-v"], haproxy(True)),
    Peer("haproxy", ["/usr/sbin/haproxy", "-v"], haproxy(False)),
    Peer("nginx", ["/usr/sbin/nginx", "-v"], nginx, udp=True),
    Peer("realm", None, lambda listen, to, folder, protocol, _: [BUILT / "realm", protocol, f"{HOST}:{listen}", f"{HOST}:{to}"], udp=True,
         refuses={"idle-many": SIX}),
    Peer("copy_bidirectional", None, lambda listen, to, folder, protocol, _: [BUILT / "copy_bidirectional", f"{HOST}:{listen}", f"{HOST}:{to}"]),
    Peer("systemd-socket-proxyd", [PROXYD, "--version"], proxyd, refuses={"idle-many": SIX}),
    Peer("socat", ["/usr/bin/socat", "-V"], socat, udp=True, refuses={"idle": FORKS, "idle-many": FORKS, "sessions": "a process for each session"}),
    Peer("rinetd", ["/usr/sbin/rinetd", "-v"], rinetd, udp=True),
    Peer("redir", ["/usr/bin/redir", "-v"], lambda listen, to, *_: ["/usr/bin/redir", "-n", f"{HOST}:{listen}", f"{HOST}:{to}"],
         refuses={"idle": FORKS, "idle-many": FORKS}),
    Peer("simpleproxy", ["/usr/bin/simpleproxy", "-V"],
         lambda listen, to, *_: ["/usr/bin/simpleproxy", "-L", f"{HOST}:{listen}", "-R", f"{HOST}:{to}"], refuses={"idle": FORKS, "idle-many": FORKS}),
]


def install():
    """Installs the Debian packages that are missing and builds the load."""
    installing.packages(PACKAGES)
    installing.cargo(LOAD)


def versions():
    """Name → version, as the program itself says it."""
    found = {"realm": f"realm_core {locked('realm_core', LOAD)}", "copy_bidirectional": f"tokio {locked('tokio', LOAD)}"}
    for peer in PEERS:
        command = [BINARY, "--version"] if peer.name == "netjobs" else peer.version
        if command:
            found[peer.name] = version(command)
    return found
