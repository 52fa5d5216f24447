"""Weights that core's nodes have saved: without their note, under prefixes, several in one file."""

import importlib

import pytest
import torch

KINDS = {"dit": "diffusion_models", "vae": "vae", "text_encoder": "text_encoders"}


@pytest.fixture
def real():
    """The loaders, with the built-in weights as they are shipped."""
    load = importlib.import_module("longtake.host.networks.load")
    folders = importlib.import_module("longtake.host.comfyui.folders")
    return {
        "dit": lambda name=folders.BUILT_IN: load.load_model(name),
        "vae": lambda name=folders.BUILT_IN: load.load_vae(name),
        "text_encoder": lambda name=folders.BUILT_IN: load.load_text_encoder(name),
    }


@pytest.fixture
def save(comfyui, real, tmp_path, monkeypatch):
    """Saves by core's nodes into each loader's folder; gives the file's name."""
    import folder_paths
    from comfy_extras import nodes_model_merging as core

    made = []
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))

    def saved(kind: str, whole: bool) -> str:
        model, vae, clip = (real[name]() for name in ("dit", "vae", "text_encoder"))
        if whole:
            core.CheckpointSave().save(model, clip, vae, "saved")
        elif kind == "dit":
            core.ModelSave().save(model, "saved")
        elif kind == "vae":
            core.VAESave().save(vae, "saved")
        else:
            core.CLIPSave().save(clip, "saved")
        (file,) = tmp_path.rglob("*.safetensors")
        folder = comfyui.base / "models" / KINDS[kind]
        folder.mkdir(exist_ok=True)
        made.append(folder / f"saved_{kind}.safetensors")
        made[-1].write_bytes(file.read_bytes())
        return made[-1].name

    yield saved
    for path in made:
        path.unlink()


def numbers(kind: str, loaded) -> dict[str, torch.Tensor]:
    if kind == "dit":
        return loaded.model.diffusion_model.state_dict()
    network = loaded.first_stage_model if kind == "vae" else loaded.cond_stage_model
    return network.state_dict()


@pytest.mark.parametrize("whole", [False, True], ids=["alone", "checkpoint"])
@pytest.mark.parametrize("kind", KINDS)
def test_built_in_weights_load_again(real, save, kind, whole):
    before = real[kind]()
    again = real[kind](save(kind, whole))
    assert again is not before
    ours, theirs = numbers(kind, before), numbers(kind, again)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name].float(), theirs[name].float()) for name in ours)
    if kind == "dit":
        assert again.model.sizes == before.model.sizes
        formats = [model.model.latent_format for model in (before, again)]
        assert formats[0].latent_rgb_factors == formats[1].latent_rgb_factors
        assert type(formats[0]) is type(formats[1])
    if kind == "text_encoder":
        texts = [clip.encode_from_tokens(clip.tokenize("a red ball")) for clip in (before, again)]
        assert torch.equal(*texts)
