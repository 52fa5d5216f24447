/** What pointers and keys do on the board of a motion brush. */

import { STARTS, follow, isCommand, listenTo } from "../page/controls.js";
import { t } from "../page/words.js";
import { simplified, within } from "./text.js";

const TWICE = 400; // milliseconds within which two presses are a double click
const OFF = 0.012; // of the picture's height, by which a drawn path may be off when it is kept
const STEP = 0.01; // of the picture
const LARGE_STEP = 0.1;

export function listenToHands(board) {
    const { stage } = board.parts;
    stage.addEventListener("pointerdown", (event) => press(board, event));
    listenTo(board, stage, actionOf);
}

/** The place in the picture under the pointer, however far the canvas is zoomed. */
function placeUnder(board, { clientX, clientY }) {
    const box = board.parts.stage.getBoundingClientRect();
    return [(clientX - box.left) / (box.width || 1), (clientY - box.top) / (box.height || 1)].map(within);
}

function press(board, event) {
    if (event.button !== 0) return;
    event.preventDefault();
    board.parts.stage.focus({ preventScroll: true });
    // The browser knows of no double click where what was pressed first has been drawn anew since.
    const [{ timeStamp, clientX, clientY }, before] = [event, board.pressed];
    board.pressed = { timeStamp, clientX, clientY };
    const near = before && Math.hypot(clientX - before.clientX, clientY - before.clientY) < STARTS;
    if (near && timeStamp - before.timeStamp < TWICE) return twice(board, event);
    const { stroke, place } = event.target.dataset ?? {};
    if (stroke === undefined || Number(stroke) < 0) return board.mayChange ? draw(board, event) : undefined;
    board.select(Number(stroke), Number(place ?? 0));
    if (!board.mayChange || !board.stroke) return;
    const begin = placeUnder(board, event);
    const was = board.stroke.places;
    const name = `pull ${performance.now()}`;
    follow(board, event, {
        move(moved) {
            const [x, y] = placeUnder(board, moved);
            const by = [x - begin[0], y - begin[1]];
            board.preview = place === undefined
                ? shifted(was, by)
                : was.map((one, k) => (k === board.place ? [within(one[0] + by[0]), within(one[1] + by[1])] : one));
            board.draw();
        },
        done(kept) {
            const { preview } = board;
            board.preview = null;
            if (kept && preview) board.lead(preview, name);
            board.draw();
        },
    });
}

/** All places moved alike, as far as none of them leaves the picture. */
function shifted(places, by) {
    const room = [0, 1].map((axis) => {
        const along = places.map((place) => place[axis]);
        return Math.min(1 - Math.max(...along), Math.max(-Math.min(...along), by[axis]));
    });
    return places.map(([x, y]) => [within(x + room[0]), within(y + room[1])]);
}

/** A new stroke: as it is drawn, or with Shift straight. */
function draw(board, event) {
    const begin = placeUnder(board, event);
    const pressed = [event.clientX, event.clientY];
    let drawn = null;
    board.select(-1);
    follow(board, event, {
        move(moved) {
            const far = Math.hypot(moved.clientX - pressed[0], moved.clientY - pressed[1]);
            if (!drawn && far < STARTS) return;
            const here = placeUnder(board, moved);
            drawn = drawn && !moved.shiftKey ? [...drawn, here] : [begin, here];
            board.preview = drawn;
            board.draw();
        },
        done(kept) {
            board.preview = null;
            const { ratio } = board.picture;
            const flat = (drawn ?? []).map(([x, y]) => [x * ratio, y]);
            const places = simplified(flat, OFF).map(([x, y]) => [x / ratio, y]);
            if (kept && places.length > 1) board.add(places);
            else board.draw();
        },
    });
}

/** A point that stays still; on a stroke, one more place to bend it by. */
function twice(board, event) {
    if (!board.mayChange) return;
    const { stroke, place } = event.target.dataset ?? {};
    if (stroke === undefined) return board.add([placeUnder(board, event)]);
    if (place !== undefined) return;
    board.select(Number(stroke));
    if (board.stroke?.places.length > 1) board.bend(placeUnder(board, event));
}

function actionOf(board, key, event) {
    if (isCommand(event)) return null;
    const choosing = {
        PageDown: () => board.choose({ stroke: 1 }), PageUp: () => board.choose({ stroke: -1 }),
        ".": () => board.choose({ place: 1 }), ",": () => board.choose({ place: -1 }),
    };
    if (choosing[key]) return choosing[key];
    if (!board.mayChange || event.altKey) return null;
    const step = event.shiftKey ? LARGE_STEP : STEP;
    const ways = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (ways[key]) return () => (board.stroke ? board.nudge(...ways[key]) : board.say(t("PageDown chooses a stroke.")));
    const gone = () => board.remove(event.shiftKey);
    return { n: () => board.add(), s: () => board.hold(), Delete: gone, Backspace: gone }[key] ?? null;
}
