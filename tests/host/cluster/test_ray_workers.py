"""What is said where no cluster is to be had, and when Ray is imported: without Ray."""

import os
import sys
from types import SimpleNamespace

import pytest

from longtake.engine.cluster.crowd import UnreachableError
from longtake.host.cluster.ray_workers import RayWorkers, check_answers, in_a_line
from tests.host.cluster.conftest import free_port

ADDRESS = "10.0.0.7:6379"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            "Token authentication is enabled but no authentication token was found. Ensure",
            f"no token for the cluster at {ADDRESS}: copy the head's",
        ),
        ("Authentication token is missing: Unauthenticated", "does not take this machine's token"),
        (
            "Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.9.1",
            "has another Ray or Python: Version mismatch: The cluster was started with: Ray: 2.9.0",
        ),
        ("Can't find a node to connect", f"run `ray start --address={ADDRESS}` on it first"),
        ("something\nelse", f"the cluster at {ADDRESS} cannot be joined: something else"),
    ],
)
def test_why_a_cluster_is_not_to_be_had_is_one_line(error, says):
    told = in_a_line(RuntimeError(error), ADDRESS)
    assert says in told
    assert "\n" not in told


def test_nobody_at_an_address_is_told_at_once():
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(UnreachableError, match=f"no cluster answers at {address} "):
        check_answers(address)


def test_a_token_is_asked_for_unless_somebody_says_otherwise(monkeypatch):
    """Of Ray's own accord that is so only for a cluster that it finds by itself."""
    modes = []
    ray = SimpleNamespace(
        is_initialized=lambda: False, init=lambda **_: modes.append(os.environ["RAY_AUTH_MODE"])
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    for given in ({}, {"RAY_AUTH_MODE": "disabled"}):
        monkeypatch.setattr(os, "environ", dict(given))
        RayWorkers("auto")
    assert modes == ["token", "disabled"]


def test_without_ray_it_is_told_how_to_have_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with pytest.raises(UnreachableError, match=r"not installed \(.*python.* -m pip install ray"):
        RayWorkers(ADDRESS)
