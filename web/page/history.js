/** What a text was before each change: {text, …}, to go back to and forth again. */

const MOST = 200;

export class History {
    #past = [];
    #future = [];

    /** A change has been made. Changes in a row that have the same name are one step. */
    made(before, after, name = null) {
        const last = this.#past.at(-1);
        if (name && last?.name === name && last.after.text === before.text) last.after = after;
        else this.#past.push({ before, after, name });
        if (this.#past.length > MOST) this.#past.shift();
        this.#future = [];
    }

    /** What there was before the last change, or null. */
    undone() {
        const step = this.#past.pop();
        if (step) this.#future.push(step);
        return step?.before ?? null;
    }

    /** What there was after the change that was undone last, or null. */
    redone() {
        const step = this.#future.pop();
        if (step) this.#past.push({ ...step, name: null });
        return step?.after ?? null;
    }

    get canUndo() {
        return this.#past.length > 0;
    }

    get canRedo() {
        return this.#future.length > 0;
    }

    forget() {
        this.#past = [];
        this.#future = [];
    }
}
