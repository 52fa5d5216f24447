"""From diffusers' names of Wan's tensors to the official ones.

Official names are those of Wan-Video's own modules, and of ours. The other layout in use is
diffusers' (`WanTransformer3DModel`, `WanVACETransformer3DModel`, `AutoencoderKLWan`). A name that
no rule covers stays as it is, so that it is reported as unexpected where the weights are loaded.

Source: scripts/convert_wan_to_diffusers.py in huggingface/diffusers, and its module names.
"""

import re
from collections.abc import Callable, Iterable, Mapping

Rename = Callable[[str], str]

BLOCK = re.compile(r"((?:vace_)?blocks\.\d+\.)(.+)")
LEAF = re.compile(r"(.+)(\.(?:weight|bias|gamma))")

# diffusers -> official, without .weight and .bias
DIT: Mapping[str, str] = {
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "condition_embedder.image_embedder.pos_embed": "img_emb.emb_pos",
    "condition_embedder.image_embedder.norm1": "img_emb.proj.0",
    "condition_embedder.image_embedder.ff.net.0.proj": "img_emb.proj.1",
    "condition_embedder.image_embedder.ff.net.2": "img_emb.proj.3",
    "condition_embedder.image_embedder.norm2": "img_emb.proj.4",
    "fps_projection.net.0.proj": "fps_projection.0",
    "fps_projection.net.2": "fps_projection.2",
    "scale_shift_table": "head.modulation",
    "proj_out": "head.head",
}
DIT_BLOCK: Mapping[str, str] = {
    "attn1.to_q": "self_attn.q",
    "attn1.to_k": "self_attn.k",
    "attn1.to_v": "self_attn.v",
    "attn1.to_out.0": "self_attn.o",
    "attn1.norm_q": "self_attn.norm_q",
    "attn1.norm_k": "self_attn.norm_k",
    "attn2.to_q": "cross_attn.q",
    "attn2.to_k": "cross_attn.k",
    "attn2.to_v": "cross_attn.v",
    "attn2.to_out.0": "cross_attn.o",
    "attn2.norm_q": "cross_attn.norm_q",
    "attn2.norm_k": "cross_attn.norm_k",
    "attn2.add_k_proj": "cross_attn.k_img",
    "attn2.add_v_proj": "cross_attn.v_img",
    "attn2.norm_added_k": "cross_attn.norm_k_img",
    "norm2": "norm3",  # each layout counts the norm without weights differently
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
    "scale_shift_table": "modulation",
    "proj_in": "before_proj",  # of VACE's blocks
    "proj_out": "after_proj",
}
# Some published diffusers files hold this norm, which no code applies; diffusers skips it too.
DIT_UNUSED = re.compile(r"(?:vace_)?blocks\.\d+\.attn2\.norm_added_q\.weight")

VAE: Mapping[str, str] = {"quant_conv": "conv1", "post_quant_conv": "conv2"}
VAE_HALF: Mapping[str, str] = {
    "conv_in": "conv1",
    "norm_out": "head.0",
    "conv_out": "head.2",
    "mid_block.attentions.0.norm": "middle.1.norm",
    "mid_block.attentions.0.to_qkv": "middle.1.to_qkv",
    "mid_block.attentions.0.proj": "middle.1.proj",
}
VAE_RESIDUAL: Mapping[str, str] = {
    "norm1": "residual.0",
    "conv1": "residual.2",
    "norm2": "residual.3",
    "conv2": "residual.6",
    "conv_shortcut": "shortcut",
}
HALF = re.compile(r"(encoder|decoder)\.(.+)")
MIDDLE = re.compile(r"mid_block\.resnets\.(\d+)(.*)")
STAGE = re.compile(
    r"(?:down|up)_blocks\.(?P<stage>\d+)"
    r"(?:\.resnets\.(?P<block>\d+)|\.(?P<resample>downsampler|upsampler|upsamplers\.0))?"
    r"(?P<rest>(?:\..*)?)"
)


def dit_from_diffusers(name: str) -> str:
    """`blocks.3.attn1.to_q.weight` -> `blocks.3.self_attn.q.weight`."""
    if match := BLOCK.fullmatch(name):
        return match[1] + rename_stem(match[2], DIT_BLOCK)
    return rename_stem(name, DIT)


def vae_from_diffusers(names: Iterable[str]) -> Rename:
    """How to rename the tensors of a diffusers VAE; `names` are all of them.

    All are needed because layout 2.1 numbers the decoder's blocks through all stages, so that
    an index depends on how many blocks a stage has.
    """
    names = list(names)
    blocks = _count(names, r"decoder\.up_blocks\.0\.resnets\.(\d+)\.")
    nested = any(re.match(r"encoder\.down_blocks\.\d+\.resnets\.", name) for name in names)

    def rename(name: str) -> str:
        if not (match := HALF.fullmatch(name)):
            return rename_stem(name, VAE)
        half, rest = match.groups()
        place = _place_nested if nested else _place_flat
        return f"{half}.{_rename_half(rest, lambda m: place(half, m, blocks))}"

    return rename


def _rename_half(name: str, place: Callable[[re.Match], str]) -> str:
    """A name within the encoder or decoder; `place` says where a stage's block belongs."""
    stem, leaf = _split_leaf(name)
    if stem in VAE_HALF:
        return VAE_HALF[stem] + leaf
    if match := MIDDLE.fullmatch(stem):
        return f"middle.{2 * int(match[1])}{_rename_residual(match[2])}{leaf}"
    if match := STAGE.fullmatch(stem):
        return f"{place(match)}{_rename_residual(match['rest'])}{leaf}"
    return name


def _place_nested(half: str, match: re.Match, blocks: int) -> str:
    """Layout 2.2: every stage is a list of its own, with the resampling last."""
    stack = "downsamples" if half == "encoder" else "upsamples"
    last = blocks - (half == "encoder")  # a decoder stage has one block more
    index = last if match["resample"] else match["block"]
    return f"{stack}.{match['stage']}.{stack}.{index}"


def _place_flat(half: str, match: re.Match, blocks: int) -> str:
    """Layout 2.1: one list of all stages' blocks; diffusers nests the decoder's only."""
    if half == "encoder":
        return f"downsamples.{match['stage']}"
    index = blocks if match["resample"] else int(match["block"] or 0)
    return f"upsamples.{int(match['stage']) * (blocks + 1) + index}"


def _rename_residual(rest: str) -> str:
    """`.conv1` -> `.residual.2`; what is no part of a residual block stays."""
    return f".{VAE_RESIDUAL[rest[1:]]}" if rest[1:] in VAE_RESIDUAL else rest


def rename_stem(name: str, table: Mapping[str, str]) -> str:
    stem, leaf = _split_leaf(name)
    return table.get(stem, stem) + leaf


def _split_leaf(name: str) -> tuple[str, str]:
    """`ffn.0.weight` -> (`ffn.0`, `.weight`); a bare parameter has no leaf."""
    match = LEAF.fullmatch(name)
    return (match[1], match[2]) if match else (name, "")


def _count(names: Iterable[str], pattern: str) -> int:
    """How many different numbers a pattern's first group takes."""
    return len({match[1] for name in names if (match := re.match(pattern, name))})
