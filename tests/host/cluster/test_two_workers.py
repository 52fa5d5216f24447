"""Two workers over real Ray on one host, each an actor with a ComfyUI of its own as its child."""

import pytest

from tests.host.cluster.conftest import take

# Ray's own, of which the next Python has more.
pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning", "default::SyntaxWarning")


def windows_of(host) -> dict[str, bytes]:
    """What the driver's store holds, which is empty afterwards."""
    folder = host.base / "output" / "longtake" / "windows"
    found = {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}
    for name in found:
        (folder / name).unlink()
    return found


@pytest.fixture
def empty(host) -> None:
    windows_of(host)


def test_two_workers_make_the_take_to_the_bit(host, empty, cluster, monkeypatch):
    from server import PromptServer

    shown: list[str] = []
    send = lambda text, node, sid=None: shown.append(text)  # noqa: E731
    monkeypatch.setattr(PromptServer.instance, "send_progress_text", send)
    assert host.run(take("this ComfyUI", steps=2)).error is None
    alone = windows_of(host)
    assert len(alone) == 4
    assert host.run(take(cluster.address, steps=2)).error is None
    assert windows_of(host) == alone
    assert "sampled by one, two" in "".join(shown)
    for machine in (cluster.one, cluster.two):
        assert list((machine.folder / "output/longtake/windows").iterdir()), machine.name
