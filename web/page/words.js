/** What the pack says in the page, in the language that ComfyUI's pages are set to. */

import { ZH } from "./words_zh.js";

const TABLES = { zh: ZH };
let language = () => "en";

/** Take up ComfyUI's setting: a function that gives "en", "zh" and so on. */
export function speak(locale) {
    language = locale;
}

/** A text by its English, in which each {name} is replaced by the value of that name. */
export function t(english, values = {}) {
    const said = TABLES[language()]?.[english] ?? english;
    return said.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}
