/**
 * The strip of a storyboard: its shots in time, and what may be done with them.
 *
 * Its source reads {text, end, fps, snap, chained, why}: `end` is null where nobody says it, `chained`
 * that there are shots beside those in the text.
 */

import { Panel } from "../page/panel.js";
import { drawStrip } from "./draw.js";
import { t } from "../page/words.js";
import * as edits from "./edits.js";
import { listenToGestures } from "./gestures.js";
import { listenToKeys } from "./keys.js";
import { endsOf, guessedEnd, label, settled } from "./layout.js";
import { DISSOLVE, StoryboardError, checkStoryboard, parseStoryboard } from "./text.js";
import { openEditor } from "./words_editor.js";

export const NEW_WORDS = "what this shot shows";
const NEW_SECONDS = 2;

export class Strip extends Panel {
    constructor(source) {
        super(source);
        this.shots = [];
        this.error = null; // of the text, as Python tells it
        this.selected = 0;
        this.sound = null; // {peaks, seconds, beats, tempo}
        this.heard = "null"; // of what
        this.pictures = []; // of the last run, see pictures.js
        this.preview = null; // {starts, end} while a cut is being pulled
        this.run = () => {}; // queues the graph
        this.parts = drawStrip.parts(this);
        listenToGestures(this);
        listenToKeys(this);
        this.begin();
    }

    get written() {
        return { text: this.text, end: this.state.end };
    }

    /** When the take ends; guessed where nobody says it. */
    get end() {
        return this.state.end ?? guessedEnd(this.shots);
    }

    get endIsFixed() {
        return this.state.end === null;
    }

    get fps() {
        return this.state.fps;
    }

    /** By how many seconds a cut may move to fall on a beat. */
    get snap() {
        return this.state.snap;
    }

    get chained() {
        return this.state.chained;
    }

    get mayChange() {
        return !this.why && !this.error;
    }

    get beats() {
        return this.sound?.beats ?? [];
    }

    take(state) {
        this.state = state;
        try {
            this.shots = parseStoryboard(this.text);
            this.error = null;
            if (!this.chained) checkStoryboard(this.shots, this.state.end);
        } catch (error) {
            if (!(error instanceof StoryboardError)) throw error;
            this.error = error;
            if (!error.at && error.at !== 0) this.shots = [];
        }
        this.selected = Math.max(0, Math.min(this.selected, this.shots.length - 1));
    }

    /** Keep another text, and perhaps another end, if it is a storyboard; say why, if it is none. */
    change(text, { end = this.state.end, name = null, said = "" } = {}) {
        if (this.why) return false;
        const wrong = mistakeIn(text, end, this.chained);
        if (wrong) return this.say(wrong.message);
        if (text === this.text && end === this.state.end) return true;
        this.keep({ text, end }, name, said);
        return true;
    }

    select(i) {
        this.selected = Math.max(0, Math.min(i, this.shots.length - 1));
        this.said = "";
        this.draw();
        this.parts.reveal(this.selected);
    }

    /** Keep the starts and the end to which a cut was pulled. */
    retime({ starts, end }, name) {
        const moved = starts.findIndex((start, i) => start !== this.shots[i].start);
        const said = moved < 0
            ? t("ends at {seconds} s", { seconds: label(end) })
            : t("shot {n} at {seconds} s", { n: moved + 1, seconds: label(starts[moved]) });
        const text = edits.withStarts(this.text, this.shots, starts);
        const asked = this.endIsFixed ? {} : { end: edits.rounded(end) };
        return this.change(text, { ...asked, name, said });
    }

    reorder(from, to) {
        if (to === from || to < 0 || to >= this.shots.length) return;
        const text = edits.withOrder(this.text, this.shots, from, to, this.end);
        const said = t("now shot {n} of {all}", { n: to + 1, all: this.shots.length });
        if (this.change(text, { said })) this.select(to);
    }

    remove(i) {
        if (this.shots.length < 2) return this.say(t("A storyboard has one shot at least."));
        const text = edits.withoutShot(this.text, this.shots, i);
        if (this.change(text, { said: t("shot {n} is gone", { n: i + 1 }) })) this.draw();
    }

    /** Cut shot `i` in two at `seconds`, or in its middle. */
    split(i, seconds = null) {
        const [begin, stop] = [this.shots[i].start, endsOf(this.shots, this.end)[i]];
        const scale = this.parts.scale;
        const middle = settled((begin + stop) / 2, { scale, beats: this.beats });
        let at = seconds ?? middle;
        if (at <= begin || at >= stop) at = (begin + stop) / 2;
        const text = edits.withShot(this.text, this.shots, i, at, this.shots[i].words);
        const said = t("cut in two at {seconds} s", { seconds: label(edits.rounded(at)) });
        if (this.change(text, { said })) this.select(i + 1);
    }

    /** A new shot after shot `i`, for which all later ones wait; and its words are asked for. */
    add(i) {
        if (!this.shots.length) {
            if (this.change(edits.withShot(this.text, [], -1, 0, NEW_WORDS))) this.edit(0, true);
            return;
        }
        const begin = endsOf(this.shots, this.end)[i];
        if (this.endIsFixed) return this.split(i);
        const moved = this.shots.map((shot, k) => (k > i ? shot.start + NEW_SECONDS : shot.start));
        const later = edits.withStarts(this.text, this.shots, moved);
        const text = edits.withShot(later, parseStoryboard(later), i, begin, NEW_WORDS);
        const end = edits.rounded(this.end + NEW_SECONDS);
        if (!this.change(text, { end, said: t("a new shot") })) return;
        this.select(i + 1);
        this.edit(i + 1, true);
    }

    /** Ask for the words of shot `i`; a `fresh` one goes again if nobody writes any. */
    edit(i, fresh = false) {
        if (!this.mayChange) return;
        const shown = fresh ? "" : edits.linesOfWords(this.text, this.shots[i]);
        openEditor(this, i, shown, {
            keep: (words) => this.write(i, words),
            leave: () => fresh && this.undo(),
        });
    }

    write(i, words) {
        if (!words.trim()) return this.say(t("A shot needs words."));
        const text = edits.withWords(this.text, this.shots, i, words);
        const wrong = mistakeIn(text, this.state.end, this.chained);
        if (wrong || parseStoryboard(text).length !== this.shots.length)
            return this.say(
                t("No line of the words may begin with # or [, nor hold a time in brackets."),
            );
        return this.change(text, { said: t("the words of shot {n}", { n: i + 1 }) });
    }

    soften(i, seconds = this.shots[i].dissolve ? 0 : DISSOLVE) {
        if (i === 0) return this.say(t("There is nothing before the first shot to dissolve from."));
        const longest = endsOf(this.shots, this.end)[i] - this.shots[i].start;
        const takes = Math.min(seconds, longest);
        const text = edits.withDissolve(this.text, this.shots, i, takes);
        const said = takes ? t("dissolves for {seconds} s", { seconds: label(takes) }) : t("cuts");
        return this.change(text, { said });
    }

    seed(i, seed) {
        const text = edits.withSeed(this.text, this.shots, i, seed);
        const said = seed === null ? t("the take's seed") : t("seed {seed}", { seed });
        return this.change(text, { said });
    }

    draw() {
        drawStrip(this);
    }
}

/** What is wrong with a text, or null. */
function mistakeIn(text, end, chained) {
    try {
        const shots = parseStoryboard(text);
        if (!chained) checkStoryboard(shots, end);
    } catch (error) {
        if (error instanceof StoryboardError) return error;
        throw error;
    }
    return null;
}
