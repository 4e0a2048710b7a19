"""The networks of the pings, made when the first asks for them."""
from icmp.measures import World

_MADE = []


def world():
    if not _MADE:
        _MADE.append(World())
    return _MADE[0]


def close():
    while _MADE:
        _MADE.pop().close()
