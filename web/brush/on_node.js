/** The board on a Motion Brush node: a widget beside its text, never saved and never queued. */

import { annotated, fileIn, routeOf } from "../page/files.js";
import { nodeInto } from "../page/graph.js";
import { addPanel, isLinked, takesPanel, valueOf, writeValues } from "../page/widget.js";
import { t } from "../page/words.js";
import { Board } from "./board.js";

const PICTURE = /\.(png|jpe?g|webp|bmp|gif|avif)$/i;

/** Give a Motion Brush node its board. */
export function addBoard(app, node) {
    if (!takesPanel(node, "brush")) return;
    const board = new Board({
        read: () => readNode(node), write: ({ text }) => writeValues(node, { brush: text }),
    });
    let made = null; // what the node showed after its last run
    addPanel(app, node, board, {
        name: "board", type: "LONGTAKE_BRUSH", height: 260, reads: ["brush"],
        look() {
            board.refresh();
            board.show(pictureFor(app, node, made));
        },
        executed(detail) {
            if (String(detail?.display_node ?? detail?.node) !== String(node.id)) return;
            made = detail.output?.images?.[0] ?? made;
        },
    });
}

/** What strokes are drawn on: the file or the preview before the node, else what it made itself. */
function pictureFor(app, node, made) {
    const from = nodeInto(node, "image");
    const file = fileIn(from, PICTURE);
    const shown = from?.imgs?.[0];
    const own = made && app.api.apiURL(routeOf(made));
    const url = (file && app.api.apiURL(routeOf(annotated(file)))) || shown?.src || own || "";
    return { url, ratio: ratioFor(node) ?? (shown?.naturalWidth ? shown.naturalWidth / shown.naturalHeight : 1) };
}

/** Width to height of the video, as the node before says it; null where none does. */
function ratioFor(node) {
    const value = (name) => valueOf(nodeInto(node, "latent"), name);
    const [wide, high] = /^([\d.]+):([\d.]+)$/.exec(String(value("aspect") ?? ""))?.slice(1).map(Number) ?? [];
    if (wide > 0 && high > 0) return wide / high;
    const [width, height] = [Number(value("width")), Number(value("height"))];
    return width > 0 && height > 0 ? width / height : null;
}

function readNode(node) {
    const why = isLinked(node, "brush") ? t("The text comes from another node.") : "";
    return { text: String(valueOf(node, "brush") ?? ""), why };
}
