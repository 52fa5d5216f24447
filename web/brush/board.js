/** The picture of a motion brush, on which strokes are drawn. */

import { Panel } from "../page/panel.js";
import { t } from "../page/words.js";
import { drawBoard, partsOf } from "./draw.js";
import { listenToHands } from "./hands.js";
import { distance, lineOf, strokesIn, withLine, withMore, within } from "./text.js";

const NEW = [[0.4, 0.5], [0.6, 0.5]];
const EASE = "ease";

export class Board extends Panel {
    constructor(source) {
        super(source);
        this.strokes = [];
        this.selected = -1; // which stroke
        this.place = 0; // which of its places
        this.preview = null; // {places} of the selected stroke, or of a new one, while it is pulled
        this.picture = { url: "", ratio: 1 };
        this.pressed = null; // where and when the pointer was last
        this.parts = partsOf(this);
        listenToHands(this);
        this.begin();
    }

    get stroke() {
        return this.strokes[this.selected] ?? null;
    }

    /** A graph has been opened: what was before is another one's. */
    restart() {
        this.selected = -1;
        super.restart();
    }

    /** Show another picture: {url, ratio}, of width to height. */
    show(picture) {
        if (JSON.stringify(picture) === JSON.stringify(this.picture)) return;
        this.picture = picture;
        this.take(this.state);
        this.draw();
    }

    take(state) {
        this.state = state;
        this.strokes = strokesIn(state.text, this.picture.ratio);
        this.selected = Math.min(this.selected, this.strokes.length - 1);
        this.place = Math.max(0, Math.min(this.place, (this.stroke?.places.length ?? 1) - 1));
    }

    /** Keep another text. */
    change(text, { name = null, said = "" } = {}) {
        if (this.why) return this.say(this.why);
        return text === this.text ? this.draw() : this.keep({ text }, name, said);
    }

    select(stroke, place = 0) {
        this.selected = stroke;
        this.place = place;
        this.say("");
    }

    /** Another stroke, or another place of this one, `by` further on. */
    choose({ stroke = 0, place = 0 }) {
        const count = this.strokes.length;
        if (!count) return;
        if (stroke) return this.select((Math.max(this.selected, stroke > 0 ? -1 : 0) + stroke + count) % count);
        if (!this.stroke?.places.length) return;
        const places = this.stroke.places.length;
        this.select(this.selected, (this.place + place + places) % places);
    }

    /** One more stroke through some places, and it is chosen. */
    add(places = NEW) {
        const how = places.length > 1 ? EASE : "";
        this.change(withMore(this.text, lineOf({ places, how })), { said: t("a new stroke") });
        this.select(this.strokes.length - 1, places.length - 1);
    }

    /** Let the chosen stroke go through other places. */
    lead(places, name = null) {
        const { line } = this.stroke;
        const [x, y] = (places[this.place] ?? places[0]).map(within);
        this.change(withLine(this.text, line, lineOf({ ...this.stroke, places })), { name, said: `${x}, ${y}` });
    }

    /** Move the chosen place by parts of the picture. */
    nudge(x, y) {
        if (!this.stroke?.places.length) return;
        const moved = this.stroke.places.map((place, k) => (k === this.place ? [place[0] + x, place[1] + y] : place));
        this.lead(moved, `nudge ${this.selected} ${this.place}`);
    }

    /** One more place on the chosen stroke, where it is nearest. */
    bend(at) {
        const { places } = this.stroke;
        const far = places.slice(1).map((place, k) => distance(at, places[k], place));
        const after = far.indexOf(Math.min(...far)) + 1;
        this.place = after;
        this.lead([...places.slice(0, after), at, ...places.slice(after)]);
    }

    /** Hold the chosen stroke's point where it begins; or let one that is held go somewhere. */
    hold() {
        if (!this.stroke?.places.length) return this.say(t("This stroke is only in the text."));
        const [[x, y]] = this.stroke.places;
        const moves = this.stroke.kind !== "still";
        this.place = 0;
        this.lead(moves ? [[x, y]] : [[x, y], [x > 0.7 ? x - 0.2 : x + 0.2, y]]);
        this.say(moves ? t("it stays still") : t("it moves"));
    }

    /** Take the chosen place away; the stroke, where it has no more than two or `whole`. */
    remove(whole = false) {
        if (!this.stroke) return;
        const { line, places, kind } = this.stroke;
        if (!whole && kind === "path" && places.length > 2) {
            return this.lead(places.filter((_, k) => k !== this.place));
        }
        this.change(withLine(this.text, line, null), { said: t("the stroke is gone") });
    }

    draw() {
        drawBoard(this);
    }
}
