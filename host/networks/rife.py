"""RIFE under ComfyUI's memory management: the built-in network, or files of its folder."""

from pathlib import Path

import comfy.model_management as mm
import comfy.ops
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher

from ...models.errors import CheckpointError, InputError
from ...models.rife.config import detect_rife
from ...models.rife.ifnet import IFNet
from ...models.weights_file import read_header
from ..comfyui.cache import Key, models
from ..comfyui.file_slices import read_for_host
from ..comfyui.folders import READABLE, no_such_file
from ..comfyui.progress import check_cancelled
from .load import short
from .patching import patcher_for, reloadable, take_over

RIFE_BUILT_IN = "RIFE 4.0 (built in)"
WEIGHTS = Path(__file__).resolve().parents[2] / "models" / "rife" / "rife_4.0.safetensors"
FOLDER = "frame_interpolation"  # newer hosts have it, and their own loader reads the same files
RIFE_DTYPES = {"auto": None, "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def rife_menu() -> list[str]:
    """The built-in network, then the files in ComfyUI's folder."""
    return [RIFE_BUILT_IN, *_files()]


def _files() -> list[str]:
    # Older hosts do not have the folder yet.
    folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER))
    names = folder_paths.get_filename_list(FOLDER)
    return [name for name in names if name.lower().endswith(READABLE)]


def find_rife(name: str) -> Path:
    """The file behind a menu entry.

    Raises:
        InputError: for a name that is not in the menu.
        CheckpointError: if the built-in weights are missing.
    """
    if name == RIFE_BUILT_IN:
        if not WEIGHTS.is_file():
            raise CheckpointError(
                f"'{WEIGHTS.name}' is not in {WEIGHTS.parent.name}/: update or reinstall Longtake."
            )
        return WEIGHTS
    # Only names from the list: a path made up by hand could lead anywhere on the disk.
    path = folder_paths.get_full_path(FOLDER, name) if name in _files() else None
    if path is None:
        raise InputError(no_such_file(name, FOLDER, rife_menu()))
    return Path(path)


def load_rife(name: str, dtype: str = "auto") -> ModelPatcher:
    """A RIFE network, shared by all that use the same file.

    Args:
        name: an entry of `rife_menu()`.
        dtype: of its convolutions, one of RIFE_DTYPES; motion is always float32.

    Raises:
        InputError: for an unknown name or dtype.
        CheckpointError: if the file is damaged, or holds another network.
    """
    if dtype not in RIFE_DTYPES:
        raise InputError(f"unknown dtype {dtype!r}: choose from {', '.join(RIFE_DTYPES)}.")
    header = read_header(find_rife(name))
    config, names = detect_rife(header)
    device = mm.get_torch_device()
    chosen = RIFE_DTYPES[dtype] or _rife_dtype(device)

    def load(disable_dynamic: bool = False) -> ModelPatcher:
        weights = read_for_host(header, names, dtype=chosen)
        layers = comfy.ops.disable_weight_init
        network = IFNet(config, operations=layers, device="meta", dtype=chosen)
        take_over(network, weights, header.name)
        for block in network.blocks:  # so that Cancel need not wait for a whole frame
            block.register_forward_pre_hook(lambda *_: check_cancelled())
        offload = mm.vae_offload_device()
        patcher = patcher_for(network.eval(), device, offload, not disable_dynamic)
        return reloadable(patcher, load)

    return models.get(Key.of(header.path, "rife", short(chosen)), load)


def _rife_dtype(device: torch.device) -> torch.dtype:
    """float16 on a GPU that ComfyUI would use it on. CPUs stay exact unless asked otherwise."""
    half = not mm.is_device_cpu(device) and mm.should_use_fp16(device)
    return torch.float16 if half else torch.float32
