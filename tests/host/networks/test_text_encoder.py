"""The text encoder as CLIP, under core's nodes."""

from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from longtake.models.checkpoint import load_weights
from longtake.models.errors import CheckpointError
from longtake.models.weights_file import read_header
from tests.host.conftest import TEXT, random_weights


def encode(clip, text):
    import nodes

    return nodes.CLIPTextEncode().encode(clip, text)[0][0][0]


def tokens(clip, text):
    return [token for token, _ in clip.tokenize(text)["longtake_umt5"][0]]


def test_text_is_zero_beyond_its_end(clip):
    ids = tokens(clip, "a red ball")
    end = ids.index(1) + 1
    out = encode(clip, "a red ball")

    assert len(ids) == 64
    assert out.shape == (1, 64, TEXT["d_model"])
    assert out.dtype == torch.float32
    assert (out[0, :end].abs().sum(dim=-1) > 0).all()
    assert not out[0, end:].any()


def test_a_prompt_with_a_cut_is_two_shots(clip):
    """In core's node, with weights on words."""
    import nodes

    ((text, extras),) = nodes.CLIPTextEncode().encode(clip, "a (red:1.3) ball, then cut to a cube")[
        0
    ]
    shots = extras["longtake_shots"]
    assert shots["starts"] is None  # they share the clip, however long
    for shot, alone in zip(shots["texts"], ("a (red:1.3) ball", "a cube"), strict=True):
        assert torch.equal(shot, encode(clip, alone))
    assert text.shape == (1, 64, TEXT["d_model"])
    assert "longtake_shots" not in nodes.CLIPTextEncode().encode(clip, "a cube")[0][0][1]


def test_words_that_it_was_not_trained_on_are_named(clip, pack, monkeypatch):
    shipped = Path(pack.text_encoder.__file__).parents[2] / "models/nano/text_encoder.safetensors"
    model = load_weights(shipped)["spiece_model"]
    monkeypatch.setattr(clip, "tokenizer", type(clip.tokenizer)(None, {"spiece_model": model}))
    said = pack.text_encoder.unknown_in_words
    assert said(clip, "A big red ball, then cut to (a blue cube:1.3) on the road.", "") == ""
    assert said(clip, "a dog in the forest; a Dog") == "unknown here: dog, forest"
    assert (
        said(clip, "three cats, five dogs, 狗")
        == "unknown here: three, cats, five, dogs and 1 more"
    )


def test_an_empty_prompt_is_its_end_token(clip):
    out = encode(clip, "")
    assert out[0, 0].any()
    assert not out[0, 1:].any()


@pytest.mark.filterwarnings("ignore")  # transformers' own
def test_it_is_what_transformers_computes(clip, nano):
    import transformers

    ours = encode(clip, "a blue cube bounces")
    ids = tokens(clip, "a blue cube bounces")
    end = ids.index(1) + 1
    config = transformers.UMT5Config(
        **TEXT, feed_forward_proj="gated-gelu", tie_word_embeddings=False, dropout_rate=0.0
    )
    network = transformers.UMT5EncoderModel(config).eval()
    weights = load_weights(read_header(nano / "text_encoder.safetensors"), dtype=torch.float32)
    del weights["spiece_model"]
    weights["encoder.embed_tokens.weight"] = weights["shared.weight"]
    network.load_state_dict(weights)
    mask = torch.tensor([[1] * end + [0] * (64 - end)])
    theirs = network(input_ids=torch.tensor([ids]), attention_mask=mask).last_hidden_state

    error = (ours - theirs)[0, :end].norm() / theirs[0, :end].norm()
    assert error < 1e-5


def test_the_files_dtype_is_kept(clip):
    assert clip.cond_stage_model.longtake_umt5.transformer.shared.weight.dtype == torch.bfloat16


def test_words_can_be_weighted(clip):
    plain, strong = encode(clip, "a red ball"), encode(clip, "a (red:1.5) ball")
    assert tokens(clip, "a red ball") == tokens(clip, "a (red:1.5) ball")
    assert (plain - strong).abs().max() > 1e-3


def test_layers_before_the_last(clip):
    import nodes

    earlier = nodes.CLIPSetLastLayer().set_last_layer(clip, -2)[0]
    assert (encode(earlier, "a red ball") - encode(clip, "a red ball")).abs().max() > 1e-3


def test_the_tokenizer_can_be_saved_again(clip, nano):
    stored = load_weights(read_header(nano / "text_encoder.safetensors"))["spiece_model"]
    assert torch.equal(clip.get_sd()["spiece_model"], stored)


def test_a_file_without_its_tokenizer(pack, nano):
    weights = load_weights(read_header(nano / "text_encoder.safetensors"))
    del weights["spiece_model"]
    with pytest.raises(CheckpointError, match="no tokenizer"):
        pack.text_encoder.build_clip(TEXT, weights, "te.safetensors")


def test_a_file_with_a_hole(pack, nano):
    weights = load_weights(read_header(nano / "text_encoder.safetensors"))
    del weights["encoder.block.1.layer.0.SelfAttention.q.weight"]
    with pytest.raises(CheckpointError, match=r"missing.*block\.1\.layer\.0\.SelfAttention\.q"):
        pack.text_encoder.build_clip(TEXT, weights, "te.safetensors")


def test_umt5_xxl_is_left_to_core(pack, comfyui, monkeypatch):
    """By its width, and before its weights are looked at: core also reads its scaled versions."""
    import comfy.sd

    wide = {
        "shared.weight": torch.zeros(3, 4096),
        "encoder.block.0.layer.0.SelfAttention.q.weight": torch.zeros(64, 4096),
        "encoder.block.0.layer.1.DenseReluDense.wi_0.weight": torch.zeros(5, 4096),
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": torch.zeros(32, 1),
        "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight": torch.zeros(32, 1),
    }
    folder = comfyui.base / "models" / "text_encoders"
    folder.mkdir(exist_ok=True)
    save_file(wide, folder / "umt5_xxl.safetensors")
    made = []

    def load_clip(paths, embedding_directory, clip_type):
        made.append((Path(paths[0]).name, clip_type))
        weights = load_weights(read_header(pack.folders.built_in_weights("text_encoder")))
        return pack.text_encoder.build_clip(TEXT, weights, "")

    monkeypatch.setattr(comfy.sd, "load_clip", load_clip)
    clip = pack.load.load_text_encoder("umt5_xxl.safetensors")
    assert made == [("umt5_xxl.safetensors", comfy.sd.CLIPType.WAN)]
    assert encode(clip, "a ball").any()
    (folder / "umt5_xxl.safetensors").unlink()


def test_what_lies_beyond_the_prompt_is_not_computed(clip, monkeypatch):
    lengths = []
    encoder = clip.cond_stage_model.longtake_umt5.transformer
    network = encoder.encoder
    watch = network.register_forward_pre_hook(lambda _, args: lengths.append(args[0].shape[1]))
    short = encode(clip, "a (red:1.5) ball")
    with monkeypatch.context() as patch:
        patch.setattr(encoder, "forward", type(encoder).forward.__get__(encoder))
        whole = encode(clip, "a (red:1.5) ball")
    watch.remove()

    assert lengths[0] == tokens(clip, "a red ball").index(1) + 1 < lengths[1] == 64
    assert short.shape == whole.shape
    assert (short - whole).norm() / whole.norm() < 1e-6


def test_core_takes_over_what_it_reads_uncopied(pack, tmp_path):
    """As UMT5-XXL is loaded, whose sizes are core's own, too large to try."""
    import comfy.ops
    import comfy.utils
    from comfy.text_encoders.t5 import T5

    sizes = {**TEXT, "dense_act_fn": "gelu_pytorch_tanh", "is_gated_act": True}
    make = partial(T5, {**sizes, "model_type": "umt5"}, device="cpu")

    def network(dtype: torch.dtype = torch.bfloat16) -> T5:
        return make(dtype=dtype, operations=comfy.ops.manual_cast)

    weights = random_weights(network(), 5)
    save_file({name: w.contiguous() for name, w in weights.items()}, tmp_path / "t5.safetensors")
    read = comfy.utils.load_torch_file(str(tmp_path / "t5.safetensors"), safe_load=True)
    ours, cores, wider = network(), network(), network(torch.float32)
    with pack.text_encoder.weights_taken_over():
        lost = ours.load_state_dict({**read, "spiece_model": torch.zeros(3)}, strict=False)
        wider.load_state_dict(read)
    cores.load_state_dict(read)
    assert (lost.missing_keys, lost.unexpected_keys) == ([], ["spiece_model"])
    for name, weight in ours.state_dict().items():
        assert weight.data_ptr() == read[name].data_ptr() != cores.state_dict()[name].data_ptr()
        assert torch.equal(weight, cores.state_dict()[name])
        assert wider.state_dict()[name].dtype is torch.float32
