/** A menu on nodes that save or load a video: what may be made of it, with the nodes put in place. */

import { annotated, routeOf } from "../page/files.js";
import { readStoryboard } from "../storyboard/text.js";
import { Builder } from "./builder.js";
import { RECIPES } from "./recipes.js";
import { before, into } from "../page/graph.js";
import { valueOf } from "../page/widget.js";
import { t } from "../page/words.js";

const SAVE = ["LongtakeSaveVideo", "SaveVideo"];
const LOAD = ["LoadVideo"];
const VIDEO = /\.(mp4|webm|mkv|mov|m4v|avi|gif|webp)$/i;

/** What the menu is called. */
export const title = () => t("Go on from this video");

/** Whether a node saves or loads a video. */
export function hasVideo(node) {
    return [...SAVE, ...LOAD].includes(node?.comfyClass);
}

/** What may be made of the video of a node: {text, disabled, action}, as menus of ours have it. */
export function choices(app, node) {
    const file = fileOf(app, node);
    const source = file || into(node, "video");
    return Object.keys(RECIPES).map((name) => ({
        text: t(name), disabled: !source, action: () => goOn(app, node, file, name),
    }));
}

/** The same as an entry of ComfyUI's menu of a node; none for a node that has no video. */
export function videoMenu(app, node) {
    if (!hasVideo(node)) return [];
    const options = choices(app, node).map(({ text, disabled, action }) => ({
        content: text, disabled, callback: action,
    }));
    return [{ content: title(), has_submenu: true, submenu: { options } }];
}

/** The file that a node has saved or loads: {filename, subfolder, type}; null for none yet. */
function fileOf(app, node) {
    if (LOAD.includes(node.comfyClass)) {
        const name = valueOf(node, "file");
        return name ? annotated(String(name)) : null;
    }
    const id = app.graph === node.graph ? String(node.id) : null;
    const shown = app.nodeOutputs?.[id] ?? {};
    const files = [...(shown.files ?? []), ...(shown.images ?? []), ...(shown.video ?? [])];
    return files.find((file) => VIDEO.test(file?.filename ?? "") && file.type !== "temp") ?? null;
}

async function goOn(app, node, file, name) {
    const size = name === "Re-cut" ? await sizeOf(app, file) : null;
    const { graph } = node;
    graph.beforeChange?.();
    try {
        const builder = new Builder(node);
        builder.sources.video = sourceOf(builder, file);
        builder.put(RECIPES[name](wordsFor(node), size));
        const made = builder.frame(t(name));
        show(app.canvas, made);
    } finally {
        graph.afterChange?.();
        graph.setDirtyCanvas(true, true);
    }
}

/** Choose nodes and bring them into sight, once they have been drawn and know their places. */
function show(canvas, nodes) {
    const wait = requestAnimationFrame;
    wait(() => wait(() => {
        canvas.deselectAll?.();
        canvas.selectItems?.(nodes);
        canvas.fitViewToSelectionAnimated?.();
    }));
}

/** Where the video comes from: its file, by a node of its own; or what is to be saved. */
function sourceOf(builder, file) {
    const { node } = builder;
    if (LOAD.includes(node.comfyClass)) return { node, slot: 0 };
    if (!file) return into(node, "video");
    const path = [file.subfolder, file.filename].filter(Boolean).join("/");
    const widgets = { file: `${path} [${file.type}]` };
    return { node: builder.add("LoadVideo", 0, "load", { widgets }), slot: 0 };
}

/** The words that made the video: those of the nearest prompt, or of a storyboard's last shot. */
function wordsFor(node) {
    for (const { node: from, type, input } of before(node)) {
        if (input === "negative") continue;
        const text = valueOf(from, "text");
        if (!text?.trim()) continue;
        if (type === "CONDITIONING" && from.comfyClass !== "LongtakeStoryboard") return text;
        if (from.comfyClass === "LongtakeStoryboard") return lastShot(text);
    }
    return "";
}

function lastShot(text) {
    try {
        const { shots, standing } = readStoryboard(text);
        return [standing, shots.at(-1)?.words].filter(Boolean).join(", ");
    } catch {
        return "";
    }
}

/** How large and how long a video is, sides as a canvas takes them; nothing where it does not say. */
function sizeOf(app, file) {
    if (!file) return {};
    const video = document.createElement("video");
    const told = new Promise((resolve) => {
        video.onloadedmetadata = () => resolve(video);
        video.onerror = () => resolve(null);
        setTimeout(() => resolve(null), 3000);
    });
    video.preload = "metadata";
    video.src = app.api.apiURL(routeOf(file));
    return told.then((found) => {
        if (!found?.videoWidth) return {};
        const side = (pixels) => Math.max(32, Math.round(pixels / 32) * 32);
        const seconds = Number.isFinite(found.duration) ? Math.round(found.duration * 1000) / 1000 : undefined;
        return { width: side(found.videoWidth), height: side(found.videoHeight), seconds };
    });
}
