/** Widgets of a node: what is in them, and panels of ours beside them, never saved and never queued. */

import { addStyle } from "./dom.js";

const LISTEN = 1000; // milliseconds: nodes do not tell those after them of a change

/**
 * Put a panel on a node.
 *
 * name, type: of its widget; `height` as min-height in longtake.css; `reads`: widgets that it shows.
 * `look()` is called now and then, and when a link has changed, for what is before the node;
 * `opened()` when a graph has been; `executed(detail)` when any node has run.
 */
export function addPanel(app, node, panel, { name, type, height, reads, look, opened = () => {}, executed }) {
    addStyle();
    const shown = node.addDOMWidget(name, type, panel.root, {
        serialize: false, hideOnZoom: false, getMinHeight: () => height, getValue: () => "",
        setValue: () => {},
    });
    shown.serialize = false; // the option keeps it out of the prompt, this out of the saved graph
    const soon = (action) => () => queueMicrotask(action);
    const looking = () => node.graph && look();
    for (const one of reads) chain(widgetOf(node, one), "callback", soon(() => panel.refresh()));
    chain(node, "onConnectionsChange", soon(() => (panel.refresh(), looking())));
    chain(node, "onConfigure", () => setTimeout(() => (panel.restart(), opened())));
    const listening = setInterval(looking, LISTEN);
    const seen = ({ detail }) => executed(detail);
    app.api.addEventListener("executed", seen);
    chain(node, "onRemoved", () => {
        clearInterval(listening);
        app.api.removeEventListener("executed", seen);
        panel.close();
    });
}

/** Whether a panel may be put on a node, beside the widget with its text. */
export function takesPanel(node, text) {
    return Boolean(widgetOf(node, text)) && typeof node.addDOMWidget === "function";
}

export function widgetOf(node, name) {
    return node?.widgets?.find((widget) => widget.name === name);
}

export function valueOf(node, name) {
    return widgetOf(node, name)?.value;
}

/** Whether a widget's value comes from another node, or something goes into the input of that name. */
export function isLinked(node, name) {
    return Boolean(node.inputs?.some((input) => input.name === name && input.link != null));
}

/** Write values by their names, where they are others than before. */
export function writeValues(node, values) {
    for (const [name, value] of Object.entries(values)) {
        const widget = widgetOf(node, name);
        if (!widget || widget.value === value) continue;
        widget.value = value;
        if (typeof value !== "string") widget.callback?.(value); // a text box calls it by itself
    }
    node.graph?.setDirtyCanvas?.(true, true);
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
