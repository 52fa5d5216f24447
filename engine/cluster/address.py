"""Where the workers of a take are: at home, or in a cluster on the user's own network."""

import ipaddress
import re

from ...models.errors import InputError

HERE = "this ComfyUI"
NEAREST = "auto"  # the cluster that this machine is part of
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,62})?(\.[a-z0-9]([a-z0-9-]{0,62})?)*", re.IGNORECASE)
# Endings of names that no public name server answers for.
OWN = (".local", ".lan", ".internal", ".home.arpa", ".localdomain", ".cluster.local", ".svc")
RULE = (
    f"write {HERE!r}, {NEAREST!r} for the cluster that this machine is part of, or HOST:PORT of "
    f"its head, such as 192.168.1.20:6379"
)


def workers_address(asked: str) -> str | None:
    """The address of a cluster; None for home.

    A graph may come from a stranger, and a take's prompts and pictures go where it says: only
    addresses of private networks are taken.

    Raises:
        InputError: for anything else.
    """
    text = asked.strip() if isinstance(asked, str) else None
    if text is None:
        raise InputError(f"workers must be text, not {type(asked).__name__}: {RULE}.")
    if text in ("", HERE):
        return None
    if text == NEAREST:
        return text
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise InputError(f"workers {text[:80]!r} is no address: {RULE}.")
    if not is_private(host):
        raise InputError(
            f"workers {text[:80]!r} is not on a private network, and whoever reaches a cluster can "
            f"run programs on it: take a private address, or a tunnel to one (10.x, 172.16.x, "
            f"192.168.x, 100.64.x, a name that ends in .local)."
        )
    return text


def is_private(host: str) -> bool:
    """Whether an address, or a name, is one that only a private network knows."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        bare = "." not in host
        return bool(NAME.fullmatch(host)) and (bare or host.lower().endswith(OWN))
    return not (address.is_global or address.is_multicast or address.is_unspecified)
