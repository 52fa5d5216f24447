/** How a panel is used: its buttons, its keys, and what is pulled about on it. */

import { ICONS, element, icon } from "./dom.js";
import { t } from "./words.js";

export const STARTS = 4; // pixels from which on a press is a drag

/**
 * The row of a panel's buttons, and of what it says.
 *
 * does: {icon: [title, action]}, undo and redo aside; `stage` has the focus once one is pressed.
 */
export function barOf(panel, stage, does) {
    const all = {
        ...does,
        undo: [t("Undo (Ctrl+Z)"), () => panel.undo()],
        redo: [t("Redo (Ctrl+Shift+Z)"), () => panel.redo()],
    };
    const buttons = Object.entries(all).map(([name, [title, action]]) =>
        element(
            "button",
            {
                type: "button", class: "lt-button", title, "aria-label": title, "data-does": name,
                click: () => {
                    stage.focus({ preventScroll: true });
                    action();
                },
            },
            icon(ICONS[name]),
        ),
    );
    const status = element("div", { class: "lt-status", role: "status" });
    return { buttons, status, bar: element("div", { class: "lt-bar" }, ...buttons, status) };
}

/** Listen to keys on what has the focus: `actionOf(panel, key, event)` says what one does, if anything. */
export function listenTo(panel, stage, actionOf) {
    // ComfyUI undoes the whole graph at Ctrl+Z, unless the focus is in what says that it is one.
    stage.type = "textarea";
    stage.addEventListener("keydown", (event) => {
        if (event.target !== stage) return;
        const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
        const action = undoing(panel, key, event) ?? actionOf(panel, key, event);
        if (!action) return;
        event.preventDefault();
        action();
    });
    // It has gestures and commands of its own, too, which would act on the whole node.
    for (const name of ["pointerdown", "pointermove", "pointerup", "dblclick", "keydown", "contextmenu"])
        panel.parts.root.addEventListener(name, (event) => event.stopPropagation());
}

export function isCommand(event) {
    return event.ctrlKey || event.metaKey;
}

function undoing(panel, key, event) {
    if (!isCommand(event)) return null;
    if (key === "z") return () => (event.shiftKey ? panel.redo() : panel.undo());
    return key === "y" ? () => panel.redo() : null;
}

/** Until the pointer is let go, or Escape is pressed: then `done(false)`. */
export function follow(panel, { pointerId }, { move, done }) {
    const listening = new AbortController();
    const on = (target, name, action) =>
        target.addEventListener(name, action, { signal: listening.signal, capture: true });
    const finish = (kept) => {
        listening.abort();
        done(kept);
    };
    // Where the pointer goes is heard on the window: what it pulls is drawn anew while it moves.
    on(window, "pointermove", (event) => event.pointerId === pointerId && move(event));
    on(window, "pointerup", (event) => event.pointerId === pointerId && finish(true));
    on(window, "pointercancel", () => finish(false));
    on(panel.root, "keydown", (event) => {
        if (event.key !== "Escape") return;
        event.stopImmediatePropagation();
        finish(false);
    });
}
