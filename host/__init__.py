"""The one place that touches ComfyUI's insides.

What the nodes build on, one function per need (import each from its own module):

    load.load_model(name, dtype="auto") -> MODEL          our DiT under ComfyUI's model management
    load.load_vae(name, dtype="auto") -> VAE              our causal VAE, streaming or whole
    load.load_text_encoder(name) -> CLIP                  nano's, or UMT5-XXL
    load.DTYPES, load.VAE_DTYPES                          what `dtype` may be
    folders.menu(kind) -> [names]                         what a loader's menu lists
    model.config_of(model) -> DiTConfig | None            None: not one of our networks
    shift.shift_for(model, latent=None) -> float          what it was made for at that size

    preset.settings_of(model) -> SamplingDefaults         steps, shift, cfg, fps, size, negative
    preset.described(model) -> text                       what LoadModel shows
    experts.pair(high, low, ...) -> MODEL                 changes experts inside a run
    forcing.forcing(lag, block, noise) -> SAMPLER         a noise level of its own for each frame
    lora.add(model, name, strength) -> MODEL, ...         under every usual naming

    sampling.sample(model, positive, negative, latent, sigmas,
                    seed=, cfg=, sampler="euler") -> LATENT
    sampling.SAMPLERS                                     names that `sampler` may be
    sampling.FrameNoise(seed)                             NOISE: drawn per absolute latent frame

    vae.grid_of(vae) -> LatentGrid                        how it packs pixels
    vae.decoder(vae, latents) -> decode_piece             for engine.stream, weights on device
    vae.decode_frames(vae, latents) -> IMAGE              (frames, h, w, 3) in [0, 1]
    vae.encode(vae, image) -> latents                     (1, c, t, h, w), as the VAE gives them
    video.film(vae, latents, fps) -> VIDEO                decoded straight into a file
    video.save(video, prefix, metadata, wish, finish) -> Saved   a file in the output folder
    source.opened(video) -> with Clip                     any VIDEO as a stream, with its sound
    output.check_prefix(prefix)                           before anything is generated

    pinning.pin_image(latent, image, vae, at, fit) -> (LATENT, notes)   an image at a time
    pinning.pin_video(latent, clip, vae, at, fit, edges) -> ...         a clip from a time on
    continuing.extend / .fill_gap / .bridge / .loop / .remix -> ...     canvases made of clips
    clips.as_latent(clip, vae, fps) -> (LATENT, notes)    LATENT, IMAGE or VIDEO, on the grid
    known_frames.route_for(config) -> Route               how known frames reach a network
    known_frames.image_channels(latent, route)            of pinned pixels, for I2V checkpoints

    latent.to_canvas(latent) -> Canvas                    LATENT in, checked
    latent.to_latent(canvas, **facts) -> LATENT           mask 5-D; facts ride under "longtake"
    latent.facts_of(latent) -> dict                       fps, pins, passes...

    storyboards.encoded(clip, shots, ...) -> Board        shots with their encoded prompts
    storyboards.in_one_window(board) -> CONDITIONING      each latent frame its own shot's text
    storyboards.recipe_for(model, vae, board, ...)        all that a take needs, checked
    held.held_in(take, vae, ...) -> (Held, ...)           what is known of a take's clips
    long_take.film_take(recipe, keep=True) -> VIDEO       painted in windows, resumed, streamed
    take_identity.identity(model) -> hash                 weights and all that acts on them

    progress.Playback(steps), progress.reporter(...)      bar, moving preview, Cancel
    progress.check_cancelled()
    node_text.show_text(text)                             a line on the running node

    cache.models.entries() / .drop(key) / .retain(bytes)

`adapter`, `patching`, `text_memory` and `latent_format` are parts of what `model` makes.
Every error that a user can do something about is a LongtakeError of one line.
"""
