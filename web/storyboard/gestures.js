/** What pointers do on the strip: pull a cut, carry a card, open its words or its menu. */

import { STARTS, follow } from "../page/controls.js";
import { label, placeAt, pulled, settled } from "./layout.js";
import { openMenu } from "../page/menu.js";
import { menuOf } from "./shot_menu.js";

export function listenToGestures(strip) {
    const { root, lane, list, edges } = strip.parts;
    edges.addEventListener("pointerdown", (event) => pullCut(strip, event));
    list.addEventListener("pointerdown", (event) => pressCard(strip, event));
    list.addEventListener("dblclick", (event) => {
        const i = shotUnder(event);
        if (i !== null) strip.edit(i);
    });
    root.addEventListener("contextmenu", (event) => {
        event.preventDefault();
        const i = shotUnder(event);
        if (i === null) return;
        strip.select(i);
        openMenu(menuOf(strip, i, secondsUnder(strip, event)), event.clientX, event.clientY, () =>
            list.focus({ preventScroll: true }),
        );
    });
    // The canvas zooms with the wheel; only what scrolls here stays here.
    lane.addEventListener("wheel", (event) => {
        const aside = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
        if (aside && lane.scrollWidth > lane.clientWidth) event.stopPropagation();
    });
}

function shotUnder(event) {
    const card = event.target.closest?.("[data-shot]");
    return card ? Number(card.dataset.shot) : null;
}

/** Pixels on the strip, however far the canvas is zoomed. */
function pixelsUnder(strip, event) {
    const { inside } = strip.parts;
    const box = inside.getBoundingClientRect();
    return ((event.clientX - box.left) * inside.offsetWidth) / (box.width || 1);
}

function secondsUnder(strip, event) {
    const { scale } = strip.parts;
    return settled(pixelsUnder(strip, event) / scale, { scale, beats: strip.beats });
}

function pullCut(strip, event) {
    const handle = event.target.closest("[data-edge]");
    if (!handle || event.button !== 0 || !strip.mayChange) return;
    event.preventDefault();
    strip.parts.list.focus({ preventScroll: true });
    const [i, { scale }] = [Number(handle.dataset.edge), strip.parts];
    const now = strip.shots[i]?.start ?? strip.end;
    const off = pixelsUnder(strip, event) - now * scale;
    const name = `pull ${performance.now()}`;
    follow(strip, event, {
        move(moved) {
            const seconds = (pixelsUnder(strip, moved) - off) / scale;
            const to = settled(seconds, { scale, beats: strip.beats, fps: strip.fps, free: moved.altKey });
            strip.preview = pulled(strip.shots, strip.end, i, to, {
                fps: strip.fps, along: moved.shiftKey, fixed: strip.endIsFixed,
            });
            strip.say(`${label(strip.preview.starts[i] ?? strip.preview.end)} s`);
        },
        done(kept) {
            const { preview } = strip;
            strip.preview = null;
            if (kept && preview) strip.retime(preview, name);
            strip.draw();
        },
    });
}

function pressCard(strip, event) {
    const from = shotUnder(event);
    if (from === null || event.button !== 0) return;
    event.preventDefault();
    strip.parts.list.focus({ preventScroll: true });
    strip.select(from);
    if (!strip.mayChange) return;
    const begin = pixelsUnder(strip, event);
    const { mark, scale } = strip.parts;
    let place = null;
    follow(strip, event, {
        move(moved) {
            const x = pixelsUnder(strip, moved);
            if (place === null && Math.abs(x - begin) < STARTS) return;
            place = placeAt(strip.shots, strip.end, scale, x);
            const card = strip.parts.cards[from];
            card.classList.add("lt-carried");
            card.style.transform = `translateX(${x - begin}px)`;
            mark.style.left = `${(strip.shots[place]?.start ?? strip.end) * scale}px`;
            mark.hidden = place === from || place === from + 1;
        },
        done(kept) {
            mark.hidden = true;
            strip.parts.cards[from].classList.remove("lt-carried");
            strip.parts.cards[from].style.transform = "";
            const to = place > from ? place - 1 : place;
            if (kept && place !== null && to !== from) strip.reorder(from, to);
        },
    });
}
