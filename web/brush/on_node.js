/** The board on a Motion Brush node: a widget beside its text, never saved and never queued. */

import { addStyle } from "../page/dom.js";
import { annotated, routeOf } from "../page/files.js";
import { into } from "../page/graph.js";
import { t } from "../page/words.js";
import { Board } from "./board.js";

export const HEIGHT = 260; // as min-height in longtake.css
const LISTEN = 1000; // milliseconds: nodes do not tell those after them of a change
const PICTURE = /\.(png|jpe?g|webp|bmp|gif|avif)$/i;

/** Give a Motion Brush node its board. */
export function addBoard(app, node) {
    const text = () => node.widgets?.find((one) => one.name === "brush");
    if (!text() || typeof node.addDOMWidget !== "function") return null;
    addStyle();
    const board = new Board({ read: () => readNode(node, text()), write: (words) => writeNode(node, text(), words) });
    const shown = node.addDOMWidget("board", "LONGTAKE_BRUSH", board.root, {
        serialize: false, hideOnZoom: false, getMinHeight: () => HEIGHT, getValue: () => "",
        setValue: () => {},
    });
    shown.serialize = false; // the option keeps it out of the prompt, this out of the saved graph
    const soon = () => queueMicrotask(() => board.refresh());
    chain(text(), "callback", soon);
    chain(node, "onConfigure", () => setTimeout(() => board.restart()));
    let made = null; // what the node showed after its last run
    const look = () => node.graph && (board.refresh(), board.show(pictureFor(app, node, made)));
    chain(node, "onConnectionsChange", () => queueMicrotask(look));
    const listening = setInterval(look, LISTEN);
    const seen = ({ detail }) => {
        if (String(detail?.display_node ?? detail?.node) !== String(node.id)) return;
        made = detail.output?.images?.[0] ?? made;
    };
    app.api.addEventListener("executed", seen);
    chain(node, "onRemoved", () => {
        clearInterval(listening);
        app.api.removeEventListener("executed", seen);
        board.close();
    });
    return board;
}

/** What strokes are drawn on: the file or the preview before the node, else what it made itself. */
function pictureFor(app, node, made) {
    const from = source(node, "image");
    const file = (from?.widgets ?? []).map((widget) => String(widget.value ?? ""))
        .find((name) => PICTURE.test(name.replace(/ \[\w+\]$/, "")));
    const shown = from?.imgs?.[0];
    const own = made && app.api.apiURL(routeOf(made));
    const url = (file && app.api.apiURL(routeOf(annotated(file)))) || shown?.src || own || "";
    return { url, ratio: ratioFor(node) ?? (shown?.naturalWidth ? shown.naturalWidth / shown.naturalHeight : 1) };
}

/** Width to height of the video, as the node before says it; null where none does. */
function ratioFor(node) {
    const from = source(node, "latent");
    const value = (name) => from?.widgets?.find((widget) => widget.name === name)?.value;
    const [wide, high] = /^([\d.]+):([\d.]+)$/.exec(String(value("aspect") ?? ""))?.slice(1).map(Number) ?? [];
    if (wide > 0 && high > 0) return wide / high;
    const [width, height] = [Number(value("width")), Number(value("height"))];
    return width > 0 && height > 0 ? width / height : null;
}

function source(node, name) {
    let from = into(node, name)?.node;
    while (from?.type === "Reroute") from = from.inputs?.[0] && into(from, from.inputs[0].name)?.node;
    return from ?? null;
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

function readNode(node, widget) {
    const linked = node.inputs?.some((input) => input.name === "brush" && input.link != null);
    return { text: String(widget?.value ?? ""), why: linked ? t("The text comes from another node.") : "" };
}

function writeNode(node, widget, text) {
    if (widget && widget.value !== text) widget.value = text; // a text box calls back by itself
    node.graph?.setDirtyCanvas?.(true, true);
}
