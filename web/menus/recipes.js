/**
 * What may be done with a video that is there: nodes, left to right, and what goes into them.
 *
 * A step: type, column, widgets by name, and links by input name: "name.output" of an earlier step,
 * "video" (what is gone on with), or "model", "clip" and "vae" (those of the graph).
 */

import { t } from "../page/words.js";

/** Prompt, noise levels, sampling and a file, for a canvas that step `canvas` makes. */
function sampledFrom(canvas, column, words) {
    return {
        prompt: { type: "LongtakePrompt", column: 0, links: { clip: "clip" }, widgets: { text: words } },
        negative: { type: "LongtakePrompt", column: 0, links: { clip: "clip" }, title: t("Negative") },
        levels: { type: "LongtakeSchedule", column, links: { model: "model", latent: canvas } },
        sample: {
            type: "LongtakeSample", column: column + 1,
            links: {
                model: "model", positive: "prompt.conditioning", negative: "negative.conditioning",
                latent: canvas, sigmas: "levels.sigmas",
            },
        },
        decode: { type: "LongtakeDecode", column: column + 2, links: { latent: "sample.latent", vae: "vae" } },
        save: { type: "LongtakeSaveVideo", column: column + 2, links: { video: "decode.video" } },
    };
}

function ofClip(type, widgets = {}) {
    return (words) => ({
        canvas: { type, column: 0, widgets, links: { clip: "video", vae: "vae" } },
        ...sampledFrom("canvas.latent", 1, words),
    });
}

function recut(words, { width, height, seconds }) {
    return {
        parts: { type: "GetVideoComponents", column: 0, links: { video: "video" } },
        range: {
            type: "ImageFromBatch", column: 0, links: { image: "parts.images" },
            title: t("The range that stays"), widgets: { batch_index: 0, length: 9 },
        },
        empty: {
            type: "LongtakeCanvas", column: 0, links: { vae: "vae", fps: "parts.fps" },
            widgets: { seconds, width, height },
        },
        canvas: {
            type: "LongtakePinVideo", column: 1,
            links: { latent: "empty.latent", clip: "range.image", vae: "vae", fps: "parts.fps" },
        },
        ...sampledFrom("canvas.latent", 1, words),
    };
}

function interpolated() {
    return {
        between: { type: "LongtakeInterpolate", column: 0, links: { video: "video" } },
        save: { type: "LongtakeSaveVideo", column: 1, links: { video: "between.video" } },
    };
}

/** By what the menu says: (words, size) -> steps by name, in order. */
export const RECIPES = {
    Extend: ofClip("LongtakeExtendVideo", { direction: "forwards" }),
    "Extend backwards": ofClip("LongtakeExtendVideo", { direction: "backwards" }),
    Loop: ofClip("LongtakeLoop"),
    Remix: ofClip("LongtakeRemix"),
    "Re-cut": recut,
    Interpolate: interpolated,
};
