/**
 * A storyboard's text -> its shots, and where in the text each part of them stands.
 *
 * It reads as engine/take/storyboard_text.py does, to the same words, line and column:
 * tests/engine/take/storyboards.json goes through both. Offsets count from the beginning of the text.
 */

const SPACE = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const ENDS = new RegExp("\\r\\n|[\\n\\r\\v\\f\\x1c-\\x1e\\x85\\u2028\\u2029]", "g");
const TIME = /^(?:(\p{Nd}+):(?=[0-5]?\p{Nd}(?:\.\p{Nd}+)?s?$))?(\p{Nd}+(?:\.\p{Nd}+)?)s?$/iu;
const LIKE_A_TIME = /^[-+]?[\p{Nd}.:]+[a-z]*$/iu;
const BLOCK = new RegExp(
    `\\[[${SPACE}]*(?:all|[\\p{Nd}:.]+s?` +
        `(?:[${SPACE},=]+(?:cut|dissolve|seed)(?![\\p{L}\\p{N}_])[^\\]]*)?)[${SPACE}]*\\]`,
    "iu",
);
const WORD = new RegExp(`[^${SPACE},=]+`, "g");
const INNER_SPACE = new RegExp(`[${SPACE}]+`, "g");
const ALL = "all";
const WORDS = ["cut", "dissolve", "seed"];
const MEANT = {
    ...{ fade: "dissolve", crossfade: "dissolve", xfade: "dissolve", blend: "dissolve" },
    ...{ mix: "dissolve", morph: "dissolve" },
    ...{ hard: "cut", hardcut: "cut", jump: "cut", switch: "cut" },
};
const FORM = "a block is [4s], [4s cut] or [4s dissolve 0.5s], and may end with 'seed 7'";
const LONGEST = 200_000; // characters
export const DISSOLVE = 0.5; // seconds, where none are named
const MOST_SHOTS = 1000;
const LARGEST_SEED = 2n ** 64n - 1n;

/** A mistake in a storyboard, with the place where it was made in front, as Python tells it. */
export class StoryboardError extends Error {
    constructor(where, what, at = null) {
        super(`${where}: ${what}`);
        this.at = at; // offset in the text
    }
}

/**
 * The shots that are written in `text`, in the order in which they are written.
 *
 * A shot: start and dissolve in seconds; words; transition; seed, digits or null; where; and `block`,
 * with {from, to} of the whole (notes directly above it included), of its header and the words in
 * it, and of each line of its prompt. Text without any block is one shot, whose header is null.
 *
 * Throws StoryboardError for what cannot be read.
 */
export function parseStoryboard(text) {
    return readStoryboard(text).shots;
}

/** The same, {shots, standing}: beside the shots what is said of every one of them, or "". */
export function readStoryboard(text) {
    const length = [...text].length;
    if (length > LONGEST)
        throw new StoryboardError(
            "the text", `${length} characters: a storyboard has at most ${LONGEST}.`,
        );
    const all = linesOf(text);
    const lines = all.filter((line) => line.bare && !line.bare.startsWith("#"));
    if (!lines.some((line) => line.bare.startsWith("["))) return { shots: plain(lines), standing: "" };
    const blocks = [];
    for (const line of lines) {
        checkBegins(line);
        if (line.bare.startsWith("[")) blocks.push(blockOn(line, notesAbove(all, line)));
        else if (!blocks.length)
            throw wrong(line, line.from, "text before the first shot: begin with [0s].");
        else addPart(blocks.at(-1), line, line.from);
    }
    const shots = blocks.filter((shot) => !shot.all);
    for (const shot of shots) if (!shot.words) throw noPrompt(shot);
    return { shots, standing: standingIn(blocks.filter((shot) => shot.all)) };
}

/** Throws StoryboardError unless the shots make a storyboard that is over after `end` seconds. */
export function checkStoryboard(shots, end) {
    if (!shots.length)
        throw new StoryboardError("the storyboard", "there is no shot in it: write one as '[0s] …'.");
    if (shots.length > MOST_SHOTS)
        throw at(shots[MOST_SHOTS], `${shots.length} shots: at most ${MOST_SHOTS} are allowed.`);
    for (const shot of shots)
        if (shot.seed !== null && BigInt(shot.seed) > LARGEST_SEED)
            throw at(shot, `seed ${shot.seed}: it must be from 0 to ${LARGEST_SEED}.`);
    checkFirst(shots[0]);
    for (let i = 1; i < shots.length; i++) checkOrder(shots[i - 1], shots[i]);
    if (end !== null) checkEnd(shots, end);
}

/** 4 -> "4s", 4.5 -> "4.5s", as they are written in a storyboard. */
export function clock(seconds) {
    return `${Number(seconds.toFixed(3))}s`;
}

/** The seconds that a word of a header means, or null. */
export function secondsOf(word) {
    const found = TIME.exec(word);
    return found && 60 * Number(ascii(found[1] ?? "0")) + Number(ascii(found[2]));
}

/** Every line: its number from 1, what is on it, and {from, to} of that; `begin` is where it begins. */
function linesOf(text) {
    const lines = [];
    const first = text.startsWith("\ufeff") ? 1 : 0; // some editors save it in front
    for (let begin = first; begin <= text.length; ) {
        ENDS.lastIndex = begin;
        const found = ENDS.exec(text);
        const whole = text.slice(begin, found ? found.index : text.length);
        const from = begin + whole.search(new RegExp(`[^${SPACE}]|$`, "u"));
        const bare = whole.replace(new RegExp(`^[${SPACE}]+|[${SPACE}]+$`, "g"), "");
        lines.push({ number: lines.length + 1, begin, from, to: from + bare.length, bare, text });
        if (!found) break;
        begin = found.index + found[0].length;
    }
    return lines;
}

/** Where the notes begin that stand directly above a line; the line's own beginning without any. */
function notesAbove(all, line) {
    let first = line.number - 1;
    while (first > 0 && all[first - 1].bare.startsWith("#")) first--;
    return all[first].begin;
}

function plain(lines) {
    const words = lines.map((line) => line.bare).join(" ");
    if (!words) return [];
    const block = { header: null, from: lines[0].begin, to: lines.at(-1).to, parts: [] };
    const shot = { start: 0, words, transition: "cut", dissolve: 0, seed: null, where: "line 1", block };
    block.parts = lines.map(({ from, to }) => ({ from, to }));
    return [shot];
}

/** Refuse a block in the middle of a line, which would be read as a part of the prompt. */
function checkBegins(line) {
    const found = BLOCK.exec(line.bare.slice(1));
    if (found)
        throw wrong(
            line, line.from + 1 + found.index,
            `a block begins a line of its own: put ${quoted(found[0])} on the next one.`,
        );
}

/** The words after [all], of which there may be one. */
function standingIn([first, second]) {
    if (second) throw at(second, "a second [all]: what holds for every shot is said in one place.");
    if (first && !first.words)
        throw at(first, "[all] says nothing: write after it what holds for every shot.");
    return first?.words ?? "";
}

/** A shot; of [all] the same without times, its `all` set. */
function blockOn(line, from) {
    const close = line.bare.indexOf("]");
    const inside = line.bare.slice(1, close < 0 ? undefined : close);
    if (close < 0 || inside.includes("["))
        throw wrong(line, line.from, "this block has no closing bracket: write it as [4s cut].");
    const words = [...inside.matchAll(WORD)].map((found) => {
        const begin = line.from + 1 + found.index;
        return { text: found[0], from: begin, to: begin + found[0].length };
    });
    if (!words.length) throw wrong(line, line.from, `an empty block: ${FORM}.`);
    const all = words[0].text.toLowerCase() === ALL;
    if (all && words.length > 1)
        throw wrong(
            line, words[1].from,
            "[all] stands alone in its brackets: it has neither time nor seed.",
        );
    const meant = all ? {} : readHeader(line, words);
    const header = { from: line.from, to: line.from + close + 1, words, ...meant };
    const { start, transition, dissolve, seed } = header;
    const block = { from, to: header.to, header, parts: [] };
    const shot = { start, words: "", transition, dissolve, seed, where: place(line, line.from), block };
    Object.assign(shot, { at: line.from, all });
    addPart(shot, line, header.to);
    return shot;
}

/** The words in a bracket -> what they mean, and which of them say it. */
function readHeader(line, [time, ...rest]) {
    const found = { transition: null, dissolve: 0, seed: null, tokens: { time } };
    found.start = readSeconds(line, time);
    while (rest.length) {
        const word = rest.shift();
        const name = word.text.toLowerCase();
        if ((name === "cut" || name === "dissolve") && found.transition === null) {
            found.transition = name;
            found.tokens.transition = word;
            if (name === "dissolve") readDissolve(line, word, rest, found);
        } else if (name === "seed" && found.seed === null) {
            if (!rest.length || !/^\p{Nd}+$/u.test(rest[0].text))
                throw wrong(
                    line, (rest[0] ?? word).from,
                    "after seed comes a whole number, as in 'seed 7'.",
                );
            found.tokens.seed = { name: word, number: rest[0] };
            found.seed = String(BigInt(ascii(rest.shift().text)));
        } else throw wrong(line, word.from, unknown(word.text));
    }
    return { ...found, transition: found.transition ?? "cut" };
}

function readDissolve(line, word, rest, found) {
    found.dissolve = DISSOLVE;
    if (rest.length && LIKE_A_TIME.test(rest[0].text)) {
        found.tokens.dissolve = rest.shift();
        found.dissolve = readSeconds(line, found.tokens.dissolve);
    }
    if (!found.dissolve)
        throw wrong(
            line, word.from, "a dissolve of 0 seconds: write cut, or give it a duration.",
        );
}

function readSeconds(line, word) {
    const seconds = secondsOf(word.text);
    if (seconds !== null) return seconds;
    const name = word.text.toLowerCase();
    let what = `${quoted(word.text)} is no time: write seconds, as 4s or 4.5s, or 1:05.`;
    if (word.text.startsWith("-")) what = `${quoted(word.text)}: a time cannot be before 0s.`;
    else if (WORDS.includes(name) || Object.hasOwn(MEANT, name))
        what = `a block begins with its time: ${FORM}.`;
    throw wrong(line, word.from, what);
}

function unknown(text) {
    const name = text.toLowerCase();
    if (WORDS.includes(name)) return `${quoted(text)} stands where it cannot: ${FORM}.`;
    if (LIKE_A_TIME.test(text))
        return `${quoted(text)}: a second time comes only after dissolve; ${FORM}.`;
    const near = Object.hasOwn(MEANT, name) ? MEANT[name] : nearest(name);
    return `${quoted(text)} means nothing here: ${near ? `did you mean ${near}? ` : ""}${FORM}.`;
}

function addPart(shot, line, from) {
    const text = line.text.slice(from, line.to).replace(new RegExp(`^[${SPACE}]+`), "");
    if (!text) return;
    shot.block.parts.push({ from: line.to - text.length, to: line.to });
    shot.block.to = line.to;
    shot.words = (shot.words ? `${shot.words} ${text}` : text).replace(INNER_SPACE, " ");
}

function checkFirst(shot) {
    if (shot.start !== 0)
        throw at(
            shot,
            `the first shot starts at ${clock(shot.start)}: it must start at 0s, for there is ` +
                `nothing to show before it.`,
        );
    if (shot.transition === "dissolve")
        throw at(shot, "the first shot cannot dissolve: there is nothing before it. Leave it out.");
}

function checkOrder(before, shot) {
    if (shot.start <= before.start)
        throw at(
            shot,
            `this shot starts at ${clock(shot.start)}, but the one before it starts at ` +
                `${clock(before.start)}: they would overlap. Start it later than that.`,
        );
    if (later(before.start + before.dissolve, shot.start))
        throw at(
            before,
            `a dissolve of ${clock(before.dissolve)} from ${clock(before.start)} on is not over ` +
                `when the next shot starts at ${clock(shot.start)}: take at most ` +
                `${clock(shot.start - before.start)}.`,
        );
}

function checkEnd(shots, end) {
    for (const shot of shots)
        if (shot.start >= end)
            throw at(
                shot,
                `this shot starts at ${clock(shot.start)}, past the end at ${clock(end)}: ` +
                    `start it sooner, or make the take longer than ${clock(shot.start)}.`,
            );
    const last = shots.at(-1);
    if (later(last.start + last.dissolve, end))
        throw at(
            last,
            `a dissolve of ${clock(last.dissolve)} from ${clock(last.start)} on is not over at the ` +
                `end, ${clock(end)}: take at most ${clock(end - last.start)}.`,
        );
}

/** a > b, but for what a sum of doubles is off: Python adds fractions. */
function later(a, b) {
    return a - b > 1e-9;
}

function noPrompt(shot) {
    return at(shot, "this shot has no prompt: say after the bracket what it shows.");
}

function at(shot, what) {
    return new StoryboardError(shot.where, what, shot.at ?? shot.block.from);
}

function wrong(line, offset, what) {
    return new StoryboardError(place(line, offset), what, offset);
}

/** As Python counts: characters, of which some are two units long here. */
function place(line, offset) {
    return `line ${line.number}, column ${[...line.text.slice(line.begin, offset)].length + 1}`;
}

function quoted(text) {
    return text.includes("'") && !text.includes('"') ? `"${text}"` : `'${text.replaceAll("'", "\\'")}'`;
}

/** Decimal digits of any script as 0 … 9: they come in runs of ten. */
function ascii(digits) {
    return digits.replace(/\p{Nd}/gu, (digit) => {
        const code = digit.codePointAt(0);
        let first = code;
        while (/\p{Nd}/u.test(String.fromCodePoint(first - 1))) first--;
        return String((code - first) % 10);
    });
}

/** The word of a header that a misspelt one is most like, as Python's difflib judges; or null. */
function nearest(name) {
    const scores = WORDS.map((word) => [(2 * common(word, name)) / (word.length + name.length), word]);
    const [score, word] = scores.sort((a, b) => b[0] - a[0])[0];
    return score >= 0.6 ? word : null;
}

/** How many characters two words share: the longest run, and what is left and right of it. */
function common(a, b) {
    let [size, i, j] = [0, 0, 0];
    for (let x = 0; x < a.length; x++)
        for (let y = 0; y < b.length; y++) {
            let n = 0;
            while (x + n < a.length && a[x + n] === b[y + n]) n++;
            if (n > size) [size, i, j] = [n, x, y];
        }
    if (!size) return 0;
    return size + common(a.slice(0, i), b.slice(0, j)) + common(a.slice(i + size), b.slice(j + size));
}
