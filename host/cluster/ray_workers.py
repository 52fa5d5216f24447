"""Workers that are Ray actors. The only file that knows Ray, which is imported when it is needed.

An actor is spoken to by its name, so nothing of ours is unpickled on either side: text and bytes
go out, text and bytes come back.
"""

import os
import socket
import sys
from typing import Any

from ...engine.cluster.address import NEAREST
from ...engine.cluster.crowd import FailedCallError, LostWorkerError, UnreachableError

NAMESPACE, PREFIX = "longtake", "worker "  # of the actors' names; `worker.py` has them, too
PATIENCE = 5.0  # seconds that the head of a cluster may take to answer
ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",  # which Ray never takes by itself for an address that it is given
    # Else a process that has lost its cluster's head for a minute is ended: this ComfyUI.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "86400",
    "RAY_gcs_server_request_timeout_seconds": "15",
    "RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL": "minor",  # 3.11.7 here and 3.11.9 there will do
    "RAY_DEDUP_LOGS": "0",
}


class RayCall:
    """A call of an actor's method that is on its way."""

    def __init__(self, ray: Any, reference: Any):
        self._ray, self._reference = ray, reference

    def ready(self) -> bool:
        return bool(self._ray.wait([self._reference], timeout=0)[0])

    def result(self) -> Any:
        exceptions = self._ray.exceptions
        try:
            return self._ray.get(self._reference)
        except exceptions.RayTaskError as error:
            raise FailedCallError(str(error.cause or error).strip().split("\n")[-1]) from None
        except exceptions.RayError as error:
            raise LostWorkerError(str(error).split("\n")[0]) from None


class RayWorkers:
    """The workers that have joined a cluster. The connection stays for later takes.

    Args:
        address: of the cluster's head, or NEAREST.

    Raises:
        UnreachableError: if there is no Ray here, or no such cluster.
    """

    def __init__(self, address: str):
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        try:
            import ray
        except ImportError:
            raise UnreachableError(
                f"workers need Ray, which is not installed ({sys.executable} -m pip install ray)"
            ) from None
        self._ray, self._actors = ray, dict[str, Any]()
        if address != NEAREST:
            check_answers(address)
        self._connect(address)

    def _connect(self, address: str) -> None:
        ray = self._ray
        if ray.is_initialized():
            if self._is_connected_to(address):
                return
            ray.shutdown()
        try:
            ray.init(
                address=address,
                namespace=NAMESPACE,
                log_to_driver=False,
                logging_level="ERROR",
                configure_logging=False,
            )
        except Exception as error:  # noqa: BLE001 - Ray raises of all kinds
            raise UnreachableError(in_a_line(error, address)) from None

    def _is_connected_to(self, address: str) -> bool:
        """Whether the connection is to that cluster, and the cluster is still there."""
        try:
            self.names()
            return address in (NEAREST, self._ray.get_runtime_context().gcs_address)
        except Exception:  # noqa: BLE001 - Ray raises of all kinds
            return False

    def names(self) -> list[str]:
        found = self._ray.util.list_named_actors()
        return sorted(n.removeprefix(PREFIX) for n in found if n.startswith(PREFIX))

    def call(self, name: str, method: str, *arguments: Any) -> RayCall:
        try:
            if name not in self._actors:
                self._actors[name] = self._ray.get_actor(f"{PREFIX}{name}")
            reference = getattr(self._actors[name], method).remote(*arguments)
        except ValueError as error:  # nobody of that name any more
            raise LostWorkerError(str(error)) from None
        return RayCall(self._ray, reference)

    def close(self) -> None:
        self._actors.clear()


def check_answers(address: str) -> None:
    """Raises UnreachableError if nothing answers there: Ray itself would take minutes to say so."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
    except OSError as error:
        why = error.strerror or error
        raise UnreachableError(f"no cluster answers at {address} ({why})") from None


def in_a_line(error: Exception, address: str) -> str:
    """Why Ray did not connect."""
    text = " ".join(f"{error} {error.__cause__ or ''}".split())
    if "no authentication token" in text:
        return (
            f"this machine has no token for the cluster at {address}: copy the head's "
            f"~/.ray/auth_token (or set RAY_AUTH_MODE=disabled, if the cluster has none)"
        )
    if "uthToken" in text or "nauthenticated" in text:
        return f"the cluster at {address} does not take this machine's token: copy the head's"
    if "ersion mismatch" in text:
        return f"the cluster at {address} has another Ray or Python: {text[:300]}"
    if "node to connect" in text or "any running Ray instance" in text or "raylet" in text:
        where = "" if address == NEAREST else f" --address={address}"
        return f"this machine is not part of the cluster: run `ray start{where}` on it first"
    return f"the cluster at {address} cannot be joined: {text[:300]}"
