"""Pictures and a song that workflows begin with, put into ComfyUI's input folder."""

import logging
import shutil
from pathlib import Path

import folder_paths

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
log = logging.getLogger(__name__)


def put_samples() -> None:
    """Copy those that are not there. A folder that is not writable is no reason to stop."""
    folder = Path(folder_paths.get_input_directory())
    for sample in sorted(SAMPLES.iterdir()):
        if (folder / sample.name).exists():
            continue
        try:
            shutil.copyfile(sample, folder / sample.name)
        except OSError as error:
            why = error.strerror or error
            log.warning("longtake: %s is not put into the input folder: %s", sample.name, why)
