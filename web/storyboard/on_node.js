/** The strip on a Storyboard node: a widget beside its text, never saved and never queued. */

import { addStyle } from "../page/dom.js";
import { Strip } from "./strip.js";

export const HEIGHT = 150; // as min-height in longtake.css

/** Give a Storyboard node its strip; `run()` queues the graph. */
export function addStrip(node, run) {
    const widget = (name) => node.widgets?.find((one) => one.name === name);
    if (!widget("text") || typeof node.addDOMWidget !== "function") return null;
    addStyle();
    const strip = new Strip({ read: () => readNode(node), write: (state) => writeNode(node, state) });
    strip.run = run;
    const shown = node.addDOMWidget("strip", "LONGTAKE_STRIP", strip.root, {
        serialize: false, hideOnZoom: false, getMinHeight: () => HEIGHT, getValue: () => "",
        setValue: () => {},
    });
    shown.serialize = false; // the option keeps it out of the prompt, this out of the saved graph
    const soon = () => queueMicrotask(() => strip.refresh());
    for (const name of ["text", "seconds", "fps"]) chain(widget(name), "callback", soon);
    chain(node, "onConnectionsChange", soon);
    chain(node, "onConfigure", () => setTimeout(() => strip.restart()));
    chain(node, "onRemoved", () => strip.close());
    return strip;
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
        chained: Boolean(linked("shots")),
        why: linked("text") ? "The text comes from another node."
            : leftOut ? "The example is left out: Shots are connected." : "",
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
