/** A small menu at a place on the page, for pointers and for the keyboard. */

import { element } from "./dom.js";

let opened = null;

/**
 * Open a menu at (x, y) of the window; a menu that is open closes.
 *
 * items: {text, action, disabled, note}, or null for a line between them; `left()` is called when it
 * closes, so that the focus may go back to where it was.
 */
export function openMenu(items, x, y, left = () => {}) {
    opened?.();
    const entries = items.map((item) => (item ? entry(item) : element("hr")));
    const box = element("div", { class: "longtake-menu", role: "menu" }, ...entries);
    const listening = new AbortController();
    const close = () => {
        if (opened !== close) return;
        opened = null;
        listening.abort();
        box.remove();
        left();
    };
    const outside = (event) => !box.contains(event.target) && close();
    const on = { capture: true, signal: listening.signal };
    window.addEventListener("pointerdown", outside, on);
    window.addEventListener("wheel", outside, on);
    window.addEventListener("blur", close, { signal: listening.signal });
    box.addEventListener("keydown", (event) => keyIn(box, event, close));
    box.addEventListener("click", (event) => {
        const chosen = event.target.closest("button");
        if (!chosen || chosen.disabled) return;
        const { action } = items[entries.indexOf(chosen)];
        close();
        action();
    });
    document.body.append(box);
    opened = close;
    const { width, height } = box.getBoundingClientRect();
    box.style.left = `${Math.max(4, Math.min(x, innerWidth - width - 4))}px`;
    box.style.top = `${Math.max(4, Math.min(y, innerHeight - height - 4))}px`;
    box.querySelector("button:not(:disabled)")?.focus();
}

function entry({ text, note = "", disabled = false }) {
    const words = element("span", { text });
    const keys = note && element("kbd", { text: note });
    return element("button", { type: "button", role: "menuitem", disabled }, words, keys);
}

function keyIn(box, event, close) {
    event.stopPropagation();
    const all = [...box.querySelectorAll("button:not(:disabled)")];
    const at = all.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to !== undefined) {
        event.preventDefault();
        all[(to + all.length) % all.length]?.focus();
    } else if (event.key === "Escape" || event.key === "Tab") {
        event.preventDefault();
        close();
    }
}
