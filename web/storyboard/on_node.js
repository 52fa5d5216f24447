/** The strip on a Storyboard node: a widget beside its text, never saved and never queued. */

import { addStyle } from "../page/dom.js";
import { annotated, routeOf } from "../page/files.js";
import { t } from "../page/words.js";
import { soundOf, sourceOf } from "../sound/source.js";
import { picturesIn } from "./pictures.js";
import { Strip } from "./strip.js";

export const HEIGHT = 150; // as min-height in longtake.css

const RECALLED = 16; // runs
const LISTEN = 1000; // milliseconds: nodes do not tell those after them of a change

/** Give a Storyboard node its strip. */
export function addStrip(app, node) {
    const widget = (name) => node.widgets?.find((one) => one.name === name);
    if (!widget("text") || typeof node.addDOMWidget !== "function") return null;
    addStyle();
    const strip = new Strip({ read: () => readNode(node), write: (state) => writeNode(node, state) });
    strip.run = () => app.queuePrompt(0);
    const shown = node.addDOMWidget("strip", "LONGTAKE_STRIP", strip.root, {
        serialize: false, hideOnZoom: false, getMinHeight: () => HEIGHT, getValue: () => "",
        setValue: () => {},
    });
    shown.serialize = false; // the option keeps it out of the prompt, this out of the saved graph
    const soon = () => queueMicrotask(() => strip.refresh());
    for (const name of ["text", "seconds", "fps", "snap"]) chain(widget(name), "callback", soon);
    chain(node, "onConnectionsChange", soon);
    const opened = () => (strip.restart(), recall(app, strip));
    chain(node, "onConfigure", () => setTimeout(opened));
    const listening = setInterval(() => listen(app, node, strip), LISTEN);
    const seen = ({ detail }) => look(app, detail?.output, strip);
    app.api.addEventListener("executed", seen);
    chain(node, "onRemoved", () => {
        clearInterval(listening);
        app.api.removeEventListener("executed", seen);
        strip.close();
    });
    return strip;
}

/** Draw the sound that goes into the node, if it is another than is drawn. */
async function listen(app, node, strip) {
    const source = node.graph && sourceOf(node, (name) => routeOf(annotated(name)));
    const key = JSON.stringify(source ?? null);
    if (key === strip.heard) return;
    strip.heard = key;
    const sound = await soundOf(source, (route) => app.api.fetchApi(route));
    if (strip.heard !== key) return; // it has changed meanwhile
    strip.sound = sound;
    strip.draw();
}

/** Show what a take looks like, if it has a shot of this storyboard in it. */
function look(app, output, strip) {
    const pictures = picturesIn(output, (file) => app.api.apiURL(routeOf(file)));
    const words = new Set(strip.shots.map((shot) => shot.words));
    if (!pictures.some((picture) => words.has(picture.words))) return;
    strip.pictures = pictures;
    strip.draw();
}

/** Show what the last takes looked like: a page that is opened again is told nothing of them. */
async function recall(app, strip) {
    const answer = await app.api.fetchApi(`/history?max_items=${RECALLED}`);
    const entries = answer.ok ? Object.values(await answer.json()) : [];
    for (const { outputs } of entries)
        for (const output of Object.values(outputs ?? {})) look(app, output, strip);
}

/** Call `after` when a method has been called; what it returned is returned. */
function chain(owner, name, after) {
    const before = owner?.[name];
    if (!owner) return;
    owner[name] = function (...values) {
        const result = before?.apply(this, values);
        after();
        return result;
    };
}

function readNode(node) {
    const value = (name) => node.widgets.find((one) => one.name === name)?.value;
    const linked = (name) => node.inputs?.some((input) => input.name === name && input.link != null);
    const end = Number(value("seconds"));
    const example = node.constructor.nodeData?.input?.required?.text?.[1]?.default;
    const leftOut = linked("shots") && String(value("text")).trim() === example;
    return {
        text: String(value("text") ?? ""),
        end: linked("seconds") || !(end > 0) ? null : end,
        fps: linked("fps") ? 0 : Number(value("fps")) || 0,
        snap: linked("snap") ? 0 : Number(value("snap")) || 0,
        chained: Boolean(linked("shots")),
        why: linked("text") ? t("The text comes from another node.")
            : leftOut ? t("The example is left out: Shots are connected.") : "",
    };
}

/** Write the text, and the seconds if they are another. */
function writeNode(node, { text, end }) {
    const put = (name, value) => {
        const widget = node.widgets.find((one) => one.name === name);
        if (!widget || widget.value === value) return;
        widget.value = value;
        if (name !== "text") widget.callback?.(value); // a text box calls it by itself
    };
    if (end !== null) put("seconds", end);
    put("text", text);
    node.graph?.setDirtyCanvas?.(true, true);
}
