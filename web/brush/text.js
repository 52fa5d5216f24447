/**
 * The strokes in the text of a motion brush, see engine/motion/brush_text.py: read as far as they can be
 * drawn, and changed where they stand. Lines that cannot be read stay as they are; the node says why.
 */

const NUMBER = String.raw`[-+]?(?:\d+(?:\.\d+)?|\.\d+)`;
const LINE = /^(\s*)(\[[^\]]*\])\s*(.*?)(\s+(?:linear|ease|ease-in|ease-out))?\s*$/i;
const PLACE = new RegExp(String.raw`^\s*(${NUMBER})\s*,\s*(${NUMBER})\s*`);
const ARROW = /^(right|left|down|up)\s+(\d+(?:\.\d+)?|\.\d+)\s*w(?:idths?)?\s*((?:\/|per|a)\s*s(?:ec(?:onds?)?)?)?$/i;
const MASK = /^mask\s+(\d+)\b\s*/i;
const WAYS = { right: [1, 0], left: [-1, 0], down: [0, 1], up: [0, -1] };
const FINE = 1000; // places are kept to thousandths of the picture
const EDGE = 0.999; // at 1 they are beyond its last pixel

/**
 * Every stroke in order: {line, when, places, kind, mask, how}. `places` are [x, y] in parts of the
 * picture, where they can be known; `kind` is "path", "still" or "arrow"; `mask` a region's number or 0.
 */
export function strokesIn(text, ratio = 1) {
    return text.split("\n").flatMap((words, line) => {
        const stroke = strokeIn(words, ratio);
        return stroke ? [{ line, ...stroke }] : [];
    });
}

function strokeIn(words, ratio) {
    const [, , when, all, how = ""] = LINE.exec(words) ?? [];
    if (!when) return null;
    const mask = MASK.exec(all);
    const rest = mask ? all.slice(mask[0].length) : all;
    const parts = rest.split(/\s*(?:->|→)\s*/);
    const begin = mask ? null : placeIn(parts[0]);
    if (!mask && !begin) return null;
    const told = { when, how: how.trim(), mask: mask ? Number(mask[1]) : 0 };
    if (parts.length > 1) {
        const places = parts.map(placeIn);
        return places.every((place) => place?.whole) ? { ...told, kind: "path", places: places.map(bare) } : null;
    }
    const way = mask ? rest.trim() : parts[0].slice(begin.length).trim();
    if (/^still$/i.test(way)) return { ...told, kind: "still", places: begin ? [bare(begin)] : [] };
    const arrow = ARROW.exec(way);
    if (!arrow) return null;
    const [x, y] = WAYS[arrow[1].toLowerCase()];
    const far = Number(arrow[2]);
    const end = begin && [within(begin.x + x * far), within(begin.y + y * far * ratio)];
    return { ...told, kind: "arrow", places: begin ? [bare(begin), end] : [], speed: Boolean(arrow[3]) };
}

function placeIn(words) {
    const found = PLACE.exec(words);
    if (!found) return null;
    const [x, y] = [Number(found[1]), Number(found[2])];
    return { x, y, length: found[0].length, whole: found[0].length === words.length };
}

const bare = ({ x, y }) => [x, y];

/** A number that is in the picture. */
export function within(part) {
    return Math.round(Math.min(EDGE, Math.max(0, part)) * FINE) / FINE;
}

/** A line for a stroke. */
export function lineOf({ when = "[0s]", mask = 0, places, how = "" }) {
    const way = places.map((place) => place.map(within).join(",")).join(" -> ");
    const what = mask ? `mask ${mask} ` : "";
    const rest = places.length > 1 ? `${way}${how ? ` ${how}` : ""}` : `${way} still`;
    return `${when} ${what}${rest}`;
}

/** The text with another line in the place of a stroke's; without one, if it is null. */
export function withLine(text, line, words) {
    const lines = text.split("\n");
    lines.splice(line, 1, ...(words === null ? [] : [words]));
    return lines.join("\n");
}

/** The text with one more line. */
export function withMore(text, words) {
    return text.trim() ? `${text.replace(/\s+$/, "")}\n${words}` : words;
}

/** A path through fewer places, none of which is further than `off` from those left out. */
export function simplified(places, off) {
    if (places.length < 3) return places;
    const [first, last] = [places[0], places.at(-1)];
    const far = places.map((place) => distance(place, first, last));
    const worst = far.indexOf(Math.max(...far));
    if (far[worst] <= off) return [first, last];
    const before = simplified(places.slice(0, worst + 1), off);
    return [...before.slice(0, -1), ...simplified(places.slice(worst), off)];
}

/** How far a place is from a stretch between two others. */
export function distance([x, y], [ax, ay], [bx, by]) {
    const [dx, dy] = [bx - ax, by - ay];
    const along = dx || dy ? ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy) : 0;
    const at = Math.min(1, Math.max(0, along));
    return Math.hypot(x - ax - at * dx, y - ay - at * dy);
}
