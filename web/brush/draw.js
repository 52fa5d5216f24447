/** What the board of a motion brush looks like: the picture, strokes over it, and buttons. */

import { barOf } from "../page/controls.js";
import { element } from "../page/dom.js";
import { t } from "../page/words.js";

const TALL = 1000; // the drawing's height in its own units
const SVG = "http://www.w3.org/2000/svg";

/** The elements of a board. */
export function partsOf(board) {
    const parts = {};
    parts.image = element("img", { class: "lt-photo", alt: "", draggable: "false" });
    parts.drawing = document.createElementNS(SVG, "svg");
    parts.drawing.setAttribute("class", "lt-drawing");
    parts.drawing.setAttribute("preserveAspectRatio", "none");
    parts.stage = element(
        "div", { class: "lt-stage", role: "application", tabindex: "0", "aria-label": t("Strokes on the picture") },
        parts.image, parts.drawing,
    );
    parts.field = element("div", { class: "lt-field" }, parts.stage);
    Object.assign(parts, barOf(board, parts.stage, {
        add: [t("A new stroke (N); or draw one on the picture"), () => board.add()],
        lock: [t("Still, or moving (S)"), () => board.hold()],
        remove: [t("Delete this stroke (Shift+Delete)"), () => board.remove(true)],
    }));
    parts.root = element("div", { class: "longtake-brush" }, parts.field, parts.bar);
    return parts;
}

/** Draw the board as it is now. */
export function drawBoard(board) {
    const { parts, picture } = board;
    const { field, stage, image, drawing } = parts;
    const [width, height] = [field.clientWidth || 1, field.clientHeight || 1];
    const wide = Math.min(width, height * picture.ratio);
    Object.assign(stage.style, { width: `${wide}px`, height: `${wide / picture.ratio}px` });
    if (image.getAttribute("src") !== picture.url) {
        if (picture.url) image.setAttribute("src", picture.url);
        else image.removeAttribute("src");
    }
    image.hidden = !picture.url;
    drawing.setAttribute("viewBox", `0 0 ${TALL * picture.ratio} ${TALL}`);
    const size = TALL / Math.max(1, wide / picture.ratio); // units of a pixel
    drawing.replaceChildren(...linesOf(board, size));
    drawWords(board);
}

function linesOf(board, size) {
    const { strokes, selected, preview } = board;
    const shown = strokes.map((stroke, i) => ({ ...stroke, i, places: i === selected && preview ? preview : stroke.places }));
    if (preview && selected < 0) shown.push({ i: -1, kind: "path", places: preview });
    const chosenLast = [...shown.filter(({ i }) => i !== selected), ...shown.filter(({ i }) => i === selected)];
    return chosenLast.filter(({ places }) => places.length).flatMap((stroke) => strokeOf(board, stroke, size));
}

function strokeOf(board, { i, kind, places, speed }, size) {
    const ratio = board.picture.ratio;
    const at = places.map(([x, y]) => [x * TALL * ratio, y * TALL]);
    const chosen = i === board.selected;
    const own = { "data-stroke": i, class: `lt-line${chosen ? " lt-chosen" : ""}${speed ? " lt-speed" : ""}` };
    const drawn = [];
    if (at.length > 1) {
        const points = at.map((place) => place.join(",")).join(" ");
        drawn.push(svg("polyline", { ...own, points, class: "lt-grip", "stroke-width": 14 * size }));
        drawn.push(svg("polyline", { ...own, points, "stroke-width": 2.5 * size }));
        drawn.push(svg("path", { ...own, d: headOf(at.at(-2), at.at(-1), 11 * size), "stroke-width": 2.5 * size }));
    }
    at.forEach(([cx, cy], k) => {
        const still = kind === "still" ? " lt-still" : "";
        const here = chosen && k === board.place ? " lt-here" : "";
        const r = (chosen || k === 0 ? 5.5 : 3) * size;
        drawn.push(svg("circle", {
            cx, cy, r, "data-stroke": i, "data-place": k, "stroke-width": 2 * size,
            class: `lt-place${chosen ? " lt-chosen" : ""}${still}${here}`,
        }));
    });
    return drawn;
}

/** The two sides of an arrow's head. */
function headOf([ax, ay], [bx, by], long) {
    const angle = Math.atan2(by - ay, bx - ax);
    const side = (turn) => `${bx - long * Math.cos(angle + turn)} ${by - long * Math.sin(angle + turn)}`;
    return `M${side(0.5)}L${bx} ${by}L${side(-0.5)}`;
}

function svg(name, attributes) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
}

function drawWords(board) {
    const { parts, strokes, stroke } = board;
    const able = { add: true, lock: Boolean(stroke?.places.length), remove: Boolean(stroke), undo: board.canUndo, redo: board.canRedo };
    for (const one of parts.buttons) one.disabled = !board.mayChange || !able[one.dataset.does];
    const drawn = strokes.filter(({ places }) => places.length).length;
    const rest = strokes.length - drawn ? t(", {n} of regions", { n: strokes.length - drawn }) : "";
    const count = drawn === 1 ? t("{n} stroke", { n: 1 }) : t("{n} strokes", { n: drawn });
    const asked = board.picture.url ? "" : t("; the picture shows once it is connected");
    parts.status.textContent = board.why || board.said || `${count}${rest}${asked}`;
}
