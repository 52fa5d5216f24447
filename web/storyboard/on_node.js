/** The strip on a Storyboard node: a widget beside its text, never saved and never queued. */

import { annotated, routeOf } from "../page/files.js";
import { addPanel, isLinked, takesPanel, valueOf, writeValues } from "../page/widget.js";
import { t } from "../page/words.js";
import { soundOf, sourceOf } from "../sound/source.js";
import { picturesIn } from "./pictures.js";
import { Strip } from "./strip.js";

const RECALLED = 16; // runs

/** Give a Storyboard node its strip. */
export function addStrip(app, node) {
    if (!takesPanel(node, "text")) return;
    const strip = new Strip({ read: () => readNode(node), write: (state) => writeNode(node, state) });
    strip.run = () => app.queuePrompt(0);
    addPanel(app, node, strip, {
        name: "strip", type: "LONGTAKE_STRIP", height: 150, reads: ["text", "seconds", "fps", "snap"],
        look: () => listen(app, node, strip),
        opened: () => recall(app, strip),
        executed: (detail) => look(app, detail?.output, strip),
    });
}

/** Draw the sound that goes into the node, if it is another than is drawn. */
async function listen(app, node, strip) {
    const source = sourceOf(node, (name) => routeOf(annotated(name)));
    const key = JSON.stringify(source);
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

function readNode(node) {
    const [value, linked] = [valueOf, isLinked].map((one) => (name) => one(node, name));
    const end = Number(value("seconds"));
    const example = node.constructor.nodeData?.input?.required?.text?.[1]?.default;
    const leftOut = linked("shots") && String(value("text")).trim() === example;
    return {
        text: String(value("text") ?? ""),
        end: linked("seconds") || !(end > 0) ? null : end,
        fps: linked("fps") ? 0 : Number(value("fps")) || 0,
        snap: linked("snap") ? 0 : Number(value("snap")) || 0,
        chained: linked("shots"),
        why: linked("text") ? t("The text comes from another node.")
            : leftOut ? t("The example is left out: Shots are connected.") : "",
    };
}

/** Write the text, and the seconds where somebody says them. */
function writeNode(node, { text, end }) {
    writeValues(node, end === null ? { text } : { seconds: end, text });
}
