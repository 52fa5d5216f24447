"""What a take writes into ComfyUI's log, which on Windows may be a pipe in any code page."""


def test_it_is_ascii_and_still_says_everything(pack):
    from longtake.host.take.long_take import ascii_of

    words = "5.04 s, 121 frames of 1280×720 at 24 fps; 3 clips – “dune”"
    assert ascii_of(words) == "5.04 s, 121 frames of 1280x720 at 24 fps; 3 clips ? ?dune?"
