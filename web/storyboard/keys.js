/** The strip by keyboard: arrows choose, with Shift they move a cut, with Ctrl a whole shot. */

import { isCommand, listenTo } from "../page/controls.js";
import { pulled } from "./layout.js";
import { openMenu } from "../page/menu.js";
import { menuOf } from "./shot_menu.js";
import { t } from "../page/words.js";

const STEP = 0.1; // seconds
const LARGE_STEP = 1;

export function listenToKeys(strip) {
    listenTo(strip, strip.parts.list, actionOf);
}

function actionOf(strip, key, event) {
    if (isCommand(event)) return withCommand(strip, key);
    if (key === "ArrowLeft" || key === "ArrowRight") return arrow(strip, key === "ArrowLeft" ? -1 : 1, event);
    const i = strip.selected;
    if (key === "Home") return () => strip.select(0);
    if (key === "End") return () => strip.select(strip.shots.length - 1);
    if (key === "ContextMenu" || (key === "F10" && event.shiftKey)) return () => menu(strip, i);
    if (!strip.mayChange) return key === "n" && !strip.shots.length ? () => strip.add(i) : null;
    const actions = {
        Enter: () => strip.edit(i), F2: () => strip.edit(i),
        Delete: () => strip.remove(i), Backspace: () => strip.remove(i),
        n: () => strip.add(i), s: () => strip.split(i), d: () => strip.soften(i),
    };
    return event.altKey ? null : (actions[key] ?? null);
}

function withCommand(strip, key) {
    if (!strip.mayChange) return null;
    if (key === "ArrowLeft") return () => strip.reorder(strip.selected, strip.selected - 1);
    if (key === "ArrowRight") return () => strip.reorder(strip.selected, strip.selected + 1);
    return null;
}

function arrow(strip, way, event) {
    if (!event.shiftKey) return () => strip.select(strip.selected + way);
    const i = strip.selected;
    if (!strip.mayChange || i === 0) return () => strip.say(t("The first shot begins at 0 s."));
    return () => {
        const by = way * (event.altKey ? LARGE_STEP : STEP);
        const moved = pulled(strip.shots, strip.end, i, strip.shots[i].start + by, { fps: strip.fps });
        strip.retime(moved, `arrow ${i}`);
    };
}

function menu(strip, i) {
    const box = strip.parts.cards[i]?.getBoundingClientRect();
    if (!box) return;
    openMenu(menuOf(strip, i), box.left + 8, box.top + 24, () => strip.parts.list.focus({ preventScroll: true }));
}
