"""Where a take's windows are kept: in the output folder, wherever links lead."""

import importlib

import pytest

from longtake.models.errors import InputError


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize("link", ["longtake", "longtake/windows"])
def test_a_link_out_of_the_output_folder_is_refused(comfyui, tmp_path, monkeypatch, link):
    import folder_paths

    output, elsewhere = tmp_path / "output", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (output / link).parent.mkdir(parents=True)
    monkeypatch.setattr(folder_paths, "output_directory", str(output))
    takes = importlib.import_module("longtake.host.take.long_take")
    assert takes.store_folder() == output / "longtake" / "windows"
    (output / link).symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(InputError, match="a link in it leads out of the output folder"):
        takes.store_folder()
