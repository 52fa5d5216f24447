"""What models that the host loads were made for: the one table of their names."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..canvas.grid import BlockGrid, CausalGrid, Grid
from ..canvas.known import MASK_CHANNELS
from ..canvas.sound_track import SoundLayout
from .presets import (
    FAMILIES,
    VACE_1_3B,
    VACE_14B,
    WAN_1_3B,
    WAN_5B,
    WAN_14B,
    WAN_22_I2V,
    WAN_22_T2V,
    WAN_FLF2V,
    WAN_I2V,
    SamplingDefaults,
)

# Sources: Comfy-Org's workflow templates 0.11.44 (video_ltx2_3_t2v, video_ltx2_5_t2v,
# video_ltx2_t2v, ltxv_text_to_video, video_minimax_h3_t2v, video_minimax_h3_r2v,
# hunyuan_video_text_to_video, video_hunyuan_video_1.5_720p_t2v); shifts of
# comfy/supported_models.py, Comfy-Org/ComfyUI@v0.33.0, where LTX's is the logarithm of 10.7.
# Windows of H3 and what they go on from are lengths at which frames and sound meet exactly.
LTX_VIDEO = SamplingDefaults(30, 10.7, 3.0, 25, 768, 512, 97, "", "euler", overlap=25)
LTX_2 = replace(
    LTX_VIDEO,
    steps=8,
    cfg=1.0,
    frames=121,
    levels=(1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875),
)
MINIMAX_H3 = SamplingDefaults(20, 12.0, 1.0, 24, 1344, 768, 141, "", "res_multistep", overlap=39)
HUNYUAN = SamplingDefaults(20, 7.0, 1.0, 24, 848, 480, 73, "", "euler")
HUNYUAN_15 = SamplingDefaults(20, 7.0, 6.0, 24, 1280, 720, 121, "", "euler")
HUNYUAN_15_UPSCALER = replace(HUNYUAN_15, steps=8, shift=2.0, cfg=1.0, width=1920, height=1072)
# Sources: WanAnimatePipeline and WanAnimate2ModularPipeline of diffusers 0.42.1; templates
# video_wan2_2_14B_animate, video_wan_animate2 and video_wan21_scail2_character_replacement of
# Comfy-Org's workflow templates, which sample 6 steps with lightx2v's LoRA. What a window goes on
# from: WanAnimateToVideo, WanAnimate2ToVideo and WanSCAILToVideo in ComfyUI@v0.33.0.
WAN_ANIMATE = replace(
    WAN_I2V, steps=20, cfg=1.0, width=832, height=480, frames=77, small_shift=None, overlap=5
)
WAN_ANIMATE_2 = replace(WAN_ANIMATE, steps=40, frames=81, overlap=1)
SCAIL = replace(WAN_ANIMATE, steps=40, width=512, height=896, frames=81)
# Sources: templates video_wan2.1_fun_camera_v1.1_1.3B and video_wan2_2_14B_fun_camera.
FUN_CAMERA = replace(WAN_I2V, steps=20, shift=8.0, cfg=6.0, width=832, height=480, small_shift=None)
FUN_CAMERA_22 = replace(WAN_22_I2V, steps=20, shift=8.0, width=832, height=480)
# Sources: comfy/ldm/lightricks/vae/audio_vae.py, comfy_extras/nodes_minimax_h3.py.
AT_THE_END, KEYFRAMES = GUIDES = ("latent frames at the end", "minimax_keyframes")
LTX_SOUND = SoundLayout((8, 16), axis=2, rate=25)
H3_SOUND = SoundLayout((32, 2), axis=3, rate=40)
ADDED_POSE, POSE_BRANCH, HALF_SIZE, REFERRED = DRIVES = (
    *("poses and faces", "a branch of its own", "half as large, behind the video"),
    "a reference that the prompt names",
)


@dataclass(frozen=True)
class HostFamily:
    """A kind of model that the host loads.

    Attributes:
        title: its name on nodes.
        settings: what it was made for.
        channels: of its video latents; 0 if that tells nothing.
        reads_rate: it is told the frame rate.
        mask_channels: it reads what is known in channels of their own, an image's after so many of
            a mask: one for each pixel frame of a latent frame, or a single one; 0 if it does not.
        vace: it is shown known pixels, references and control clips as VACE's checkpoints are.
        guides: how it is shown pictures beside the video, one of GUIDES; "" if it is not.
        drives: how it is shown a clip that a character performs, one of DRIVES; "" if it is not.
        sound: how it packs the sound that it makes with the pictures; None if it makes none.
        zeros: in those channels, frames of which nothing is known are zeros to it, and not grey.
        wan: its VAE is one of Wan's.
        single: it samples one video at a time.
        note: what else to say of its settings.
        captions: whose captions it was trained on, a name of `words.families`.
        files: what names of its weights hold, in lower case; where its licence has a duty.
        duty: what its licence asks of whoever publishes what it makes; "" if nothing was found.
    """

    title: str
    settings: SamplingDefaults
    channels: int = 0
    reads_rate: bool = False
    mask_channels: int = 0
    vace: bool = False
    guides: str = ""
    drives: str = ""
    sound: SoundLayout | None = None
    zeros: bool = False
    wan: bool = False
    single: bool = False
    note: str = ""
    captions: str = "Wan"
    files: tuple[str, ...] = ()
    duty: str = ""


# By the host's own names of its classes.
HOST_FAMILIES: dict[str, HostFamily] = {
    "LTXV": HostFamily(
        "LTX-Video",
        LTX_VIDEO,
        128,
        reads_rate=True,
        guides=AT_THE_END,
        note="core's LTXVScheduler makes the noise levels it was trained on",
        captions="LTX",
    ),
    "LTXAV": HostFamily(
        "LTX-2",
        LTX_2,
        128,
        reads_rate=True,
        guides=AT_THE_END,
        sound=LTX_SOUND,
        note="for distilled files and LoRAs; without one, 20 steps of core's LTXVScheduler, cfg 4",
        captions="LTX",
        files=("ltx-2", "ltx2", "ltx_2"),
        duty="LTX-2's licence asks for provenance and a mark: leave credentials on",
    ),
    "MiniMaxH3": HostFamily(
        "MiniMax H3",
        MINIMAX_H3,
        24,
        guides=KEYFRAMES,
        drives=REFERRED,
        sound=H3_SOUND,
        single=True,
        note="with a turbo LoRA as many steps as it was made for",
        captions="MiniMax H3",
        files=("minimax_h3", "minimax-h3"),
        duty="MiniMax H3's licence: not for the EU, UK, South Korea or USA, see docs/models.md",
    ),
    "HunyuanVideo": HostFamily(
        "HunyuanVideo",
        HUNYUAN,
        16,
        captions="HunyuanVideo",
        files=("hunyuan_video_t2v", "hunyuan_video_image_to_video", "hunyuan_video_v2"),
        duty="HunyuanVideo's licence: say a machine made it; not for the EU, UK or South Korea",
    ),
    "HunyuanVideo15": HostFamily(
        "HunyuanVideo 1.5", HUNYUAN_15, 32, mask_channels=1, captions="HunyuanVideo"
    ),
    "HunyuanVideo15_SR_Distilled": HostFamily(
        "HunyuanVideo 1.5 upscaler",
        HUNYUAN_15_UPSCALER,
        32,
        note="with the prompts of core's HunyuanVideo15SuperResolution, on its latent",
        captions="HunyuanVideo",
    ),
    "WAN22_Animate": HostFamily(
        "Wan 2.2 Animate 14B",
        WAN_ANIMATE,
        16,
        mask_channels=MASK_CHANNELS,
        drives=ADDED_POSE,
        wan=True,
    ),
    "WAN_Animate2": HostFamily(
        "Wan-Animate 2 14B",
        WAN_ANIMATE_2,
        16,
        mask_channels=MASK_CHANNELS,
        drives=POSE_BRANCH,
        wan=True,
    ),
    "WAN21_SCAIL": HostFamily("SCAIL 14B", SCAIL, 16, drives=HALF_SIZE, wan=True),
    "WAN21_SCAIL2": HostFamily("SCAIL-2 14B", SCAIL, 16, drives=HALF_SIZE, wan=True),
}
LTX_GRID, H3_GRID = CausalGrid(128, 8, 32, patch=1), BlockGrid(24, 4, 16)
WAN = ("WAN21", "WAN22", "WAN21_Vace", "WAN21_Camera")  # classes of Wan models, of all sizes
WAN_OF_IMAGES = (  # by how many images they read through CLIP vision
    HostFamily("Wan 2.2 I2V A14B", WAN_22_I2V, 16, mask_channels=MASK_CHANNELS, wan=True),
    HostFamily("Wan 2.1 I2V 14B", WAN_I2V, 16, mask_channels=MASK_CHANNELS, wan=True),
    HostFamily("Wan 2.1 FLF2V 14B", WAN_FLF2V, 16, mask_channels=MASK_CHANNELS, wan=True),
)
ANY = SamplingDefaults(20, 5.0, 5.0, 24, 832, 480, 81, "", "euler")


def host_family(
    classes: Sequence[str], width: int = 0, extra: int = 0, images: int = 0, pair: bool = False
) -> HostFamily | None:
    """The family of a model that the host has loaded; None for one that is not in the table.

    Args:
        classes: names of its class and of those above it, the nearest first.
        width: of a Wan transformer.
        extra: channels that it reads beside its latents.
        images: how many it reads through CLIP vision.
        pair: it is one of two experts.
    """
    found = next((name for name in classes if name in HOST_FAMILIES or name in WAN), None)
    if found not in WAN:
        return HOST_FAMILIES.get(found or "")
    if found == "WAN22":
        return HostFamily("Wan 2.2 TI2V 5B", WAN_5B, 48, wan=True)
    if found == "WAN21_Vace":
        vace = HostFamily("Wan VACE 1.3B", VACE_1_3B, 16, vace=True, wan=True)
        small = width <= 1536
        return vace if small else replace(vace, title="Wan VACE 14B", settings=VACE_14B)
    if found == "WAN21_Camera":
        title = "Wan 2.2 Fun-Camera A14B" if extra == 20 else "Wan 2.1 Fun-Camera"
        settings = FUN_CAMERA_22 if extra == 20 else FUN_CAMERA
        return HostFamily(title, settings, 16, mask_channels=MASK_CHANNELS, zeros=True, wan=True)
    if extra == 20:
        return WAN_OF_IMAGES[images]
    if extra:
        return None
    if width <= 1536:
        return HostFamily("Wan T2V 1.3B", WAN_1_3B, 16, wan=True)
    if pair:
        return HostFamily("Wan 2.2 T2V A14B", WAN_22_T2V, 16, wan=True)
    return HostFamily("Wan T2V 14B", WAN_14B, 16, wan=True)


def made_for(channels: int, wan: bool) -> SamplingDefaults | None:
    """What models of latents of so many channels were made for, if they are not Wan's or ours."""
    if wan:
        return None
    family = next((f for f in HOST_FAMILIES.values() if f.channels == channels), None)
    return family.settings if family else ANY


def captioned_as(captions: str) -> SamplingDefaults:
    """What the first family whose captions are of this kind was made for; else Wan's."""
    families = (*FAMILIES, *HOST_FAMILIES.values())
    return next((f.settings for f in families if f.captions == captions), WAN_1_3B)


def grid_like(channels: int, with_sound: bool = False) -> Grid:
    """How latents of so many channels lie in time, where no VAE is at hand; as Wan's if unknown.

    Args:
        with_sound: beside them: the built-in model's have as many channels as MiniMax H3's.
    """
    if channels == LTX_GRID.channels:
        return LTX_GRID
    return H3_GRID if with_sound and channels == H3_GRID.channels else CausalGrid(channels)


def family_with_sound(channels: int) -> HostFamily | None:
    """The family of pictures of so many channels that makes sound, too; None if there is none."""
    families = (f for f in HOST_FAMILIES.values() if f.channels == channels and f.sound)
    return next(families, None)


def sound_layout(pictures: Sequence[int], sound: Sequence[int]) -> SoundLayout | None:
    """How sound is packed in a LATENT of pictures and sound of these shapes; None if unknown."""
    family = family_with_sound(pictures[1])
    return family.sound if family and family.sound.fits(sound) else None


def implied_sound(grid: Grid) -> SoundLayout | None:
    """How sound is packed where every model of a VAE's latents makes some."""
    return H3_SOUND if grid == H3_GRID else None


def duties_of(files: Iterable[str]) -> tuple[str, ...]:
    """What licences ask of whoever publishes what weights of these names made."""
    names = [file.lower() for file in files]
    return tuple(
        family.duty
        for family in HOST_FAMILIES.values()
        if any(mark in name for mark in family.files for name in names)
    )
