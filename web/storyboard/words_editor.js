/** A box to write a shot's words in, over its card. */

import { element } from "../page/dom.js";
import { t } from "../page/words.js";

const [NARROWEST, WIDEST] = [160, 300];

/**
 * Open the box over card `i` of a strip. Enter or a click elsewhere keeps what is written, Escape
 * leaves; `keep(words)` returns false for words that cannot be, and the box stays.
 */
export function openEditor(strip, i, words, { keep, leave }) {
    const { lane, cards } = strip.parts;
    const width = Math.min(WIDEST, Math.max(cards[i].offsetWidth, NARROWEST));
    const left = Math.min(cards[i].offsetLeft, Math.max(0, lane.scrollWidth - width));
    const box = element("textarea", {
        class: "lt-words-box",
        "aria-label": t("Words of shot {n}", { n: i + 1 }),
        placeholder: t("What this shot shows and how it moves"),
        style: { left: `${left}px`, width: `${width}px` },
    });
    box.value = words;
    let open = true;
    const close = (toStrip) => {
        open = false;
        box.remove();
        if (toStrip) strip.parts.list.focus({ preventScroll: true });
    };
    const finish = (toStrip) => {
        if (!open) return;
        if (box.value === words || !box.value.trim()) {
            close(toStrip);
            leave();
        } else if (keep(box.value)) close(toStrip);
        else box.focus();
    };
    box.addEventListener("keydown", (event) => {
        event.stopPropagation();
        if (event.isComposing) return;
        if (event.key === "Enter" && !event.shiftKey) {
            event.preventDefault();
            finish(true);
        } else if (event.key === "Escape") {
            close(true);
            leave();
        }
    });
    box.addEventListener("blur", () => finish(false));
    for (const name of ["pointerdown", "dblclick", "wheel", "contextmenu"])
        box.addEventListener(name, (event) => event.stopPropagation());
    lane.append(box);
    box.focus({ preventScroll: true });
    box.select();
}
