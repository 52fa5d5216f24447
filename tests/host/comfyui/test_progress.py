"""Previews that move, and Cancel."""

import threading
import time
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from longtake.engine.frames.prefetch import prefetch
from longtake.engine.sampling.preview import Colours
from tests.engine.streams import Stream
from tests.host.runs import SHAPE, prompt, sample


def test_pictures_are_the_latents_in_colour(pack):
    latent_format = pack.latent_format.UnitLatents(
        6, Colours([[0.5, 0.0, 0.0]] + [[0.0] * 3] * 5, [0.0, 1.0, -1.0])
    )
    clean = torch.zeros(1, 6, 3, 5, 7)
    clean[0, 0] = torch.tensor([-4.0, 0.0, 1.0]).reshape(3, 1, 1)

    pictures = pack.progress.latent_pictures(clean, latent_format)

    assert [picture.size for picture in pictures] == [(7, 5)] * 3
    colours = [picture.getpixel((3, 2)) for picture in pictures]
    assert colours == [(0, 255, 0), (127, 255, 0), (191, 255, 0)]


def test_without_a_fit_there_is_a_picture_still(pack):
    latent_format = pack.latent_format.UnitLatents(6, None)
    (picture,) = pack.progress.latent_pictures(torch.randn(1, 6, 1, 5, 7), latent_format)
    assert len(picture.getcolors()) > 10


class Sampler:
    """Stands for the Sample node, so that there is one that executes."""

    RETURN_TYPES = ("LATENT",)
    OUTPUT_NODE = True
    FUNCTION = "run"
    CATEGORY = ""
    work = None

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def run(self):
        return (type(self).work(),)


@pytest.fixture
def execute(comfyui, monkeypatch):
    """Runs a function inside a node, and gives what was sent to the browser."""
    import comfy.model_management as mm
    import comfy.utils
    from comfy_execution.progress import get_progress_state
    from comfy_execution.utils import get_executing_context

    def go(work):
        executor = comfyui.executor()

        def hook(value, total, preview, prompt_id=None, node_id=None):  # as main.py sets it
            mm.throw_exception_if_processing_interrupted()
            node = node_id or get_executing_context().node_id
            get_progress_state().update_progress(node, value, total, preview)
            executor.server.send_sync("progress", {"value": value, "max": total, "node": node})

        monkeypatch.setitem(comfyui.nodes.NODE_CLASS_MAPPINGS, "TestSampler", Sampler)
        monkeypatch.setattr(Sampler, "work", staticmethod(work))
        monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", hook)
        return comfyui.run({"7": {"class_type": "TestSampler", "inputs": {}}}, executor=executor)

    return go


def pictures(run):
    from protocol import BinaryEventTypes

    kind = BinaryEventTypes.PREVIEW_IMAGE_WITH_METADATA
    return [data for event, data in run.events if event == kind]


def test_a_step_that_takes_long_plays_the_video(pack, execute):
    drawn = []

    class Counted(pack.progress.Playback):
        def _picture(self):
            drawn.append(super()._picture())
            return drawn[-1]

    def work():
        with Counted(3) as playback:
            shades = [Image.new("RGB", (4, 4), (shade, 0, 0)) for shade in (10, 20, 30)]
            playback.show(1, shades)
            deadline = time.monotonic() + 20
            while len(drawn) < 5 and time.monotonic() < deadline:
                time.sleep(0.05)
        return {}

    run = execute(work)

    assert run.error is None
    shown = [picture.getpixel((0, 0))[0] for (_, picture, _), _ in pictures(run)]
    assert len(shown) >= 4
    assert shown[:4] == [10, 20, 30, 10]
    assert all(metadata["node_id"] == "7" for _, metadata in pictures(run))
    values = [data["value"] for event, data in run.events if event == "progress"]
    assert values == [1]


def sampling(pack, model, **settings):
    from longtake.engine.sampling.schedule import sigmas

    pair = prompt(model, 1), prompt(model, 2)
    latent = {"samples": torch.zeros(SHAPE)}
    return sample(pack, model, *pair, latent, sigmas(3, 3.0), seed=1, cfg=2.0, **settings)


def test_each_step_is_shown(pack, model, execute):
    run = execute(lambda: sampling(pack, model))
    assert run.error is None
    steps = [(data["value"], data["max"]) for event, data in run.events if event == "progress"]
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert len(pictures(run)) >= 3


def test_cancel_works_within_a_step(pack, model, execute):
    import comfy.model_management as mm

    blocks = []

    def cancel(args, extra):
        blocks.append(len(blocks))
        mm.interrupt_current_processing()
        return extra["original_block"](args)

    clone = model.clone()
    clone.set_model_patch_replace(cancel, "dit", "double_block", 0)
    run = execute(lambda: sampling(pack, clone))
    assert not run.success
    assert blocks == [0]
    assert ("execution_interrupted" in {event for event, _ in run.events}) or run.error is None
    assert not mm.processing_interrupted()


def test_playback_does_not_swallow_a_cancel(pack, execute):
    import comfy.model_management as mm

    def work():
        with pack.progress.Playback(3) as playback:
            playback.show(1, [Image.new("RGB", (4, 4)) for _ in range(3)])
            mm.interrupt_current_processing()
            time.sleep(0.4)  # in which the film goes on
            pack.progress.check_cancelled()
        raise AssertionError("was not cancelled")

    run = execute(work)
    assert not run.success
    assert run.error is None


@pytest.mark.parametrize("error", [None, ValueError], ids=["at its end", "after an error"])
def test_playback_has_ended_when_its_block_has(pack, execute, monkeypatch, error):
    """Even where the browser is slow to take a picture."""
    left = []

    class Slow:
        def update_progress(self, *_):
            time.sleep(0.5)

    registry = SimpleNamespace(get_progress_state=Slow)
    monkeypatch.setattr(pack.progress, "host_progress", registry)

    def work():
        before = set(threading.enumerate())
        try:
            with pack.progress.Playback(3) as playback:
                playback.show(1, [Image.new("RGB", (4, 4)) for _ in range(3)])
                time.sleep(0.3)
                if error:
                    raise error
        except ValueError:
            pass
        left.append(set(threading.enumerate()) - before)
        return {}

    assert execute(work).error is None
    assert left == [set()]


def test_a_stream_with_progress_is_closed_however_it_ends(pack, comfyui):
    import comfy.model_management as mm

    chunks = [torch.zeros(2, 4, 4, 3, dtype=torch.uint8)] * 3
    stream = Stream(chunks)
    assert sum(len(chunk) for chunk in pack.progress.with_progress(stream, 6)) == 6
    assert stream.closed

    stream = Stream(chunks)
    left = pack.progress.with_progress(stream, 6)
    next(left)
    left.close()
    assert stream.closed

    stream = Stream(chunks)
    mm.interrupt_current_processing(True)
    with pytest.raises(mm.InterruptProcessingException) as cancelled:
        list(pack.progress.with_progress(stream, 6))
    assert stream.closed
    assert cancelled.value.__traceback__


@pytest.mark.parametrize("error", [None, ValueError], ids=["at its end", "after an error"])
def test_networks_are_watched_no_longer_than_asked(pack, comfyui, error):
    from torch.nn.modules import module

    before = dict(module._global_forward_pre_hooks)
    try:
        with pack.progress.cancel_within_networks():
            assert len(module._global_forward_pre_hooks) == len(before) + 1
            if error:
                raise error
    except ValueError:
        pass
    assert dict(module._global_forward_pre_hooks) == before


def test_what_is_prefetched_hears_that_its_user_is_gone(pack, comfyui):
    """Cancel itself is raised in one thread only."""
    import comfy.model_management as mm

    heard = []

    def items():
        yield 1
        try:
            for _ in range(1000):
                pack.progress.check_cancelled()
                time.sleep(0.005)
        except mm.InterruptProcessingException:
            heard.append("cancelled")
            raise

    stream = prefetch(items())
    next(stream)
    stream.close()
    assert heard == ["cancelled"]
    pack.progress.check_cancelled()  # whoever goes on is not cancelled
