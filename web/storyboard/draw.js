/** What the strip looks like: a ruler, the sound, a card for each shot, and buttons. */

import { barOf } from "../page/controls.js";
import { ICONS, element, icon } from "../page/dom.js";
import { t } from "../page/words.js";
import { endsOf, label, onBeats, pixelsPerSecond, ticks } from "./layout.js";
import { drawSound } from "../sound/lane.js";
import { pictureOf } from "./pictures.js";

/** Draw the strip as it is now. Cheap enough to be done whenever anything changes. */
export function drawStrip(strip) {
    const { parts } = strip;
    const { shots, preview } = strip;
    const starts = preview?.starts ?? shots.map((shot) => shot.start);
    const now = shots.map((shot, i) => ({ ...shot, start: starts[i] }));
    const end = preview?.end ?? strip.end;
    const width = parts.lane.clientWidth || 1;
    // While a cut is pulled, the strip keeps its scale, or the cut would run away from the pointer.
    if (!preview) parts.scale = pixelsPerSecond(shots, end, width);
    parts.inside.style.width = `${Math.max(end * parts.scale, 1)}px`;
    parts.root.classList.toggle("lt-wrong", Boolean(strip.error && strip.text.trim()));
    drawRuler(parts, end);
    drawSound(parts, strip.sound, end, onBeats(starts, strip.beats, strip.snap, end));
    drawCards(strip, now, end);
    drawEdges(strip, now, end);
    drawWords(strip);
}

drawStrip.parts = (strip) => {
    const parts = { cards: [], scale: 1 };
    parts.ruler = element("div", { class: "lt-ruler", "aria-hidden": "true" });
    parts.sound = element("canvas", { class: "lt-sound", "aria-hidden": "true" });
    parts.list = element("div", {
        class: "lt-list", role: "listbox", tabindex: "0", "aria-label": t("Shots"),
        "aria-orientation": "horizontal",
    });
    parts.edges = element("div", { class: "lt-edges", "aria-hidden": "true" });
    parts.mark = element("div", { class: "lt-mark", hidden: true });
    parts.inside = element(
        "div", { class: "lt-inside" }, parts.ruler, parts.sound, parts.list, parts.edges, parts.mark,
    );
    parts.lane = element("div", { class: "lt-lane" }, parts.inside);
    Object.assign(parts, barOf(strip, parts.list, {
        add: [t("Add a shot after this one (N)"), () => strip.add(strip.selected)],
        split: [t("Cut this shot in two (S)"), () => strip.split(strip.selected)],
        dissolve: [t("Cut or dissolve (D)"), () => strip.soften(strip.selected)],
        remove: [t("Delete this shot (Delete)"), () => strip.remove(strip.selected)],
    }));
    parts.root = element("div", { class: "longtake-strip" }, parts.lane, parts.bar);
    parts.reveal = (i) => reveal(parts, i);
    return parts;
};

/** Scroll a card into sight; scrollIntoView would move the page around the strip, too. */
function reveal({ lane, cards }, i) {
    if (!cards[i]) return;
    const { offsetLeft: left, offsetWidth: width } = cards[i];
    const most = Math.max(left, left + width - lane.clientWidth);
    lane.scrollLeft = Math.min(Math.max(lane.scrollLeft, Math.min(most, left + width - lane.clientWidth)), left);
}

function drawRuler({ ruler, scale }, end) {
    ruler.replaceChildren(
        ...ticks(end, scale).map(([seconds, text]) =>
            element("span", { text, style: { left: `${seconds * scale}px` } }),
        ),
    );
}

function drawCards(strip, shots, end) {
    const { parts } = strip;
    const ends = endsOf(shots, end);
    // Cards are kept: a click whose card has been made anew meanwhile is none.
    while (parts.cards.length > shots.length) parts.cards.pop().remove();
    while (parts.cards.length < shots.length) {
        const id = `longtake-shot-${number++}`;
        const made = element("div", { id, class: "lt-card", role: "option", "data-shot": parts.cards.length });
        parts.cards.push(made);
        parts.list.append(made);
    }
    shots.forEach((shot, i) => drawCard(strip, parts.cards[i], shot, i, ends[i]));
    const chosen = parts.cards[strip.selected];
    if (chosen) parts.list.setAttribute("aria-activedescendant", chosen.id);
}

let number = 0;

function drawCard(strip, card, shot, i, stop) {
    const { scale } = strip.parts;
    const dissolve = t("dissolves for {seconds} s, ", { seconds: label(shot.dissolve) });
    const how = i === 0 ? "" : shot.dissolve ? dissolve : t("cut, ");
    const time = t("{start} to {stop} s", { start: label(shot.start), stop: label(stop) });
    card.ariaLabel = t("Shot {n}, {time}, {how}{words}", { n: i + 1, time, how, words: shot.words });
    card.ariaSelected = String(i === strip.selected);
    card.title = `${time}\n${shot.words}`;
    card.style.left = `${shot.start * scale}px`;
    card.style.width = `${Math.max((stop - shot.start) * scale, 2)}px`;
    card.style.setProperty("--lt-hue", hueOf(shot.words));
    const picture = pictureOf(strip.pictures, shot.words);
    const head = element("div", { class: "lt-head" }, element("b", { text: `${label(shot.start)} s` }));
    const title = t("seed {seed}", { seed: shot.seed });
    if (shot.seed !== null) head.append(element("span", { class: "lt-seed", title }, icon(ICONS.lock)));
    const wedge = { class: "lt-wedge", style: { width: `${shot.dissolve * scale}px` } };
    const shown = { class: "lt-picture", src: picture?.url, alt: "", draggable: "false" };
    card.replaceChildren(
        ...(picture ? [element("img", shown)] : []),
        ...(shot.dissolve ? [element("div", wedge)] : []),
        head,
        element("div", { class: "lt-words", text: shot.words }),
    );
}

function drawEdges(strip, shots, end) {
    const { edges, scale } = strip.parts;
    const places = [...shots.slice(1).map((shot) => shot.start), ...(strip.endIsFixed ? [] : [end])];
    const shown = strip.mayChange && shots.length ? places : [];
    edges.replaceChildren(
        ...shown.map((seconds, i) =>
            element("div", {
                class: "lt-edge", "data-edge": i + 1, style: { left: `${seconds * scale}px` },
                title: t("Drag to move this cut. Shift: with all after it. Alt: to any frame."),
            }),
        ),
    );
}

function drawWords(strip) {
    const { parts, shots } = strip;
    const may = strip.mayChange;
    const allowed = {
        add: may || (!strip.why && !strip.text.trim()),
        split: may, dissolve: may && strip.selected > 0, remove: may && shots.length > 1,
        undo: strip.canUndo && !strip.why, redo: strip.canRedo && !strip.why,
    };
    for (const button of parts.buttons) button.disabled = !allowed[button.dataset.does];
    const told = mistake(strip) || strip.said || strip.why || summary(strip);
    parts.status.textContent = told;
    parts.status.title = told;
}

function mistake({ error, text, chained }) {
    if (text.trim()) return error?.message ?? "";
    return chained ? "" : t("No shot yet: write one, or press +.");
}

function summary({ shots, end, sound, chained, endIsFixed }) {
    const n = shots.length;
    const count = n === 1 ? t("{n} shot", { n }) : t("{n} shots", { n });
    const nodes = chained ? t(" here, and those from Shot nodes") : "";
    const length = endIsFixed ? "" : t(", {seconds} s", { seconds: label(end) });
    const tempo = sound?.tempo && Math.round(sound.tempo);
    const music = tempo ? t(", {tempo} beats a minute", { tempo }) : "";
    return count + nodes + length + music;
}

/** The same words have the same colour, wherever their shot stands. */
function hueOf(words) {
    let hash = 7;
    for (const character of words) hash = (hash * 31 + character.codePointAt(0)) % 9973;
    return Math.round((hash * 137.508) % 360);
}
