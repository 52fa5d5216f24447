/** What may be done with one shot. */

import { pictureOf } from "./pictures.js";
import { play } from "../page/player.js";
import { t } from "../page/words.js";

const LONGER = [0.5, 1, 2]; // seconds of a dissolve

/** Entries for `openMenu`; `seconds` is the time under the pointer, if there is one. */
export function menuOf(strip, i, seconds = null) {
    const shot = strip.shots[i];
    const may = strip.mayChange;
    const seen = pictureOf(strip.pictures, shot.words);
    return [
        { text: t("Write the words"), note: "Enter", disabled: !may, action: () => strip.edit(i) },
        { text: t("Add a shot after it"), note: "N", disabled: !may, action: () => strip.add(i) },
        { text: t("Cut in two here"), note: "S", disabled: !may, action: () => strip.split(i, seconds) },
        {
            text: t("Delete"), note: "Delete", disabled: !may || strip.shots.length < 2,
            action: () => strip.remove(i),
        },
        null,
        ...transitions(strip, i, may),
        null,
        {
            text: t("Sample again with another seed"), disabled: !may,
            action: () => {
                if (strip.seed(i, anySeed())) strip.run();
            },
        },
        shot.seed === null
            ? { text: t("Lock: a seed of its own"), disabled: !may, action: () => strip.seed(i, anySeed()) }
            : { text: t("Unlock: the take's seed"), disabled: !may, action: () => strip.seed(i, null) },
        { text: t("Play"), disabled: !seen?.video, action: () => play(seen.video, shot.words) },
    ];
}

function transitions(strip, i, may) {
    const { dissolve } = strip.shots[i];
    const soft = LONGER.filter((seconds) => seconds !== dissolve).map((seconds) => ({
        text: t("Dissolve for {seconds} s", { seconds }), disabled: !may || i === 0,
        action: () => strip.soften(i, seconds),
    }));
    const cut = { text: t("Cut"), note: "D", disabled: !may || i === 0, action: () => strip.soften(i, 0) };
    return dissolve ? [cut, ...soft] : soft;
}

/** A seed short enough to be read out. */
function anySeed() {
    return String(crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000);
}
