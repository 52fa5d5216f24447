/** A panel: a board or a strip, on which a text is drawn and changed. */

import { History } from "./history.js";
import { t } from "./words.js";

/**
 * The text is the truth. A panel holds no copy of it that could be saved: it reads it whenever it may
 * have changed, and every change is made in the text.
 *
 * A source is where the text comes from: {read() -> {text, why, …}, write(state)}; `why` is a sentence
 * where the text cannot be changed here. Each panel has `take(state)`, which reads the text, and `draw()`.
 */
export class Panel {
    state = { text: "", why: "" };
    said = ""; // what has just happened
    #source;
    #history = new History();
    #read = false;
    #watcher = new ResizeObserver(() => this.draw());

    constructor(source) {
        this.#source = source;
    }

    /** Show the text, in elements of which `root` is around all others. */
    begin() {
        this.root = this.parts.root;
        this.#watcher.observe(this.root);
        this.refresh();
    }

    get text() {
        return this.state.text;
    }

    /** Why nothing can be changed here, or "". */
    get why() {
        return this.state.why;
    }

    get mayChange() {
        return !this.why;
    }

    get canUndo() {
        return this.#history.canUndo;
    }

    get canRedo() {
        return this.#history.canRedo;
    }

    /** What of the state is written, and comes again when it is undone. */
    get written() {
        return { text: this.text };
    }

    /** Read the text once more, and draw it, if anything is another than before. */
    refresh() {
        const now = this.#source.read();
        if (this.#read && JSON.stringify(now) === JSON.stringify(this.state)) return;
        const before = this.written;
        this.take(now);
        if (this.#read && before.text !== this.text) this.#history.made(before, this.written, "written elsewhere");
        this.#read = true;
        this.draw();
    }

    /** A graph has been opened: what was before is another one's. */
    restart() {
        this.refresh();
        this.#history.forget();
        this.draw();
    }

    /** Keep what is to be `written`. Changes in a row of the same name are undone as one. */
    keep(changed, name, said) {
        const before = this.written;
        this.#write(changed);
        this.#history.made(before, this.written, name);
        this.say(said);
    }

    undo() {
        this.#goTo(this.#history.undone(), t("undone"));
    }

    redo() {
        this.#goTo(this.#history.redone(), t("done again"));
    }

    #goTo(written, said) {
        if (!written || this.why) return;
        this.#write(written);
        this.say(said);
    }

    #write(changed) {
        this.take({ ...this.state, ...changed });
        this.#source.write(this.written);
    }

    /** Say what has happened, or why nothing has; false, for the latter. */
    say(what) {
        this.said = what;
        this.draw();
        return false;
    }

    close() {
        this.#watcher.disconnect();
    }
}
