"""The true round trips, between two bounds, by the kernel's own stamps of the same packets.

A request leaves between the stamp of a tap on its way out (tcpdump's; the driver comes after) and that of its entry into
the peer; its answer is back when it enters our namespace. One clock, three sockets, read once the tool is done."""
import ctypes, socket, struct

from .network import DEVICE

ETH_P_ALL, ETH_P_IP = 0x0003, 0x0800
SO_RCVBUFFORCE, SO_ATTACH_FILTER, SO_TIMESTAMPNS, SO_MEMINFO = 33, 26, 35, 55
BUFFER = 64 << 20
REQUEST, REPLY = 8, 0
# Where the address of the pinged host ends in the IP header: the destination of a request, the source of a reply.
HOST_END = {REQUEST: 20, REPLY: 16}
ICMP, HEADER, SNAP = 1, 20, 64
LOAD_BYTE, AND, JUMP_EQUAL, RETURN = 0x30, 0x54, 0x15, 0x06


class Truth:
    """Round trips of echoes; `every`: a power of two, one host of so many is looked at."""

    def __init__(self, network, every=1):
        places = {"out": (network.ours, REQUEST, ETH_P_ALL), "in": (network.peer, REQUEST, ETH_P_IP), "back": (network.ours, REPLY, ETH_P_IP)}
        self.sockets = {name: (space.call(lambda kind=kind, protocol=protocol: watch(kind, protocol, every)), kind)
                        for name, (space, kind, protocol) in places.items()}

    def read(self):
        """(host, identifier, sequence) → the least and the most seconds that it may have taken."""
        out, entered, back = (stamps(taken, kind) for taken, kind in self.sockets.values())
        return {echo: ((back[echo] - entered[echo]) / 1e9, (back[echo] - left) / 1e9) for echo, left in out.items() if echo in entered and echo in back}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for taken, _ in self.sockets.values():
            taken.close()


def watch(kind, protocol, every):
    """A socket that takes the echoes of a kind; of `ETH_P_IP` there are only those that come in."""
    program = [(LOAD_BYTE, 0, 0, 9), (JUMP_EQUAL, 0, 6, ICMP), (LOAD_BYTE, 0, 0, HEADER), (JUMP_EQUAL, 0, 4, kind),
               (LOAD_BYTE, 0, 0, HOST_END[kind] - 1), (AND, 0, 0, every - 1), (JUMP_EQUAL, 0, 1, 0) if every > 1 else (JUMP_EQUAL, 0, 0, 0),
               (RETURN, 0, 0, SNAP), (RETURN, 0, 0, 0)]
    code = b"".join(struct.pack("HBBI", *each) for each in program)
    held = Filter(code, len(program))
    taken = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    try:
        taken.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, held.pointer())
        taken.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        taken.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        # Only now do packets come.
        taken.bind((DEVICE, protocol))
        taken.setblocking(False)
    except BaseException:
        taken.close()
        raise
    return taken


class Filter:
    """`struct sock_fprog`, and the program that it points to."""

    def __init__(self, code, length):
        self.buffer, self.length = ctypes.create_string_buffer(code, len(code)), length
        self.address = ctypes.addressof(self.buffer)

    def pointer(self):
        return struct.pack("HxxxxxxP", self.length, self.address)


def stamps(taken, kind):
    """(host, identifier, sequence) → nanoseconds of the first packet of that name."""
    drops = struct.unpack("9I", taken.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))[8]
    if drops:
        raise RuntimeError(f"the capture lost {drops} packets")
    found, end = {}, HOST_END[kind]
    while True:
        try:
            packet, controls, _, _ = taken.recvmsg(SNAP, 64)
        except BlockingIOError:
            return found
        seconds, nanos = next(struct.unpack("qq", data) for _, which, data in controls if which == SO_TIMESTAMPNS)
        echo = (socket.inet_ntoa(packet[end - 4:end]), *struct.unpack("!HH", packet[HEADER + 4:HEADER + 8]))
        found.setdefault(echo, seconds * 10**9 + nanos)
