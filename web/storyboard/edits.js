/**
 * A storyboard's text with one thing changed, and every other byte as it was.
 *
 * Each function takes the text and its shots (see text.js) and returns the new text. Where times move,
 * it takes all starts. Nothing is checked here: what comes out is read again before it is kept.
 */

/** Seconds as they are written: milliseconds at most. */
export function rounded(seconds) {
    return Math.round(seconds * 1000) / 1000;
}

/** The text with other starts, one for each shot; words whose time stays are left as they are. */
export function withStarts(text, shots, starts) {
    const changes = shots.flatMap(({ block, start }, i) => {
        if (same(starts[i], start)) return [];
        const wanted = rounded(starts[i]);
        const time = block.header?.tokens.time;
        if (!time) return [{ from: block.parts[0].from, to: block.parts[0].from, text: `[${wanted}s] ` }];
        return [{ from: time.from, to: time.to, text: written(wanted, time.text) }];
    });
    return spliced(text, changes);
}

/** The text with another prompt for shot `i`, line by line, so that notes between them stay. */
export function withWords(text, shots, i, words) {
    const { parts } = shots[i].block;
    const lines = words.split(/\r?\n/).map((line) => line.trim()).filter(Boolean);
    const changes = parts.slice(0, lines.length).map((part, k) => ({ ...part, text: lines[k] }));
    if (lines.length > parts.length) {
        const end = parts.at(-1).to;
        const more = lines.slice(parts.length).map((line) => `${breakOf(text)}${indent(text, parts)}${line}`);
        changes.push({ from: end, to: end, text: more.join("") });
    }
    for (const part of parts.slice(lines.length)) changes.push({ ...wholeLine(text, part), text: "" });
    return spliced(text, changes);
}

/** The prompt of a shot as its author broke it into lines. */
export function linesOfWords(text, shot) {
    return shot.block.parts.map(({ from, to }) => text.slice(from, to)).join("\n");
}

/** The text with a seed of its own for shot `i`, or none for null. */
export function withSeed(text, shots, i, seed) {
    const { header, parts } = shots[i].block;
    if (!header)
        return seed === null ? text : inserted(text, parts[0].from, `[0s seed ${seed}] `);
    const { seed: own } = header.tokens;
    if (own && seed !== null) return spliced(text, [{ ...own.number, text: String(seed) }]);
    if (own) return spliced(text, [{ from: before(header, own.name), to: own.number.to, text: "" }]);
    return seed === null ? text : inserted(text, header.words.at(-1).to, ` seed ${seed}`);
}

/** The text in which shot `i` follows by a cut (0) or by a dissolve of so many seconds. */
export function withDissolve(text, shots, i, seconds) {
    const change = dissolveChange(shots[i].block.header, seconds);
    return change ? spliced(text, [change]) : text;
}

/** The text with shot `from` moved to place `to`; every shot keeps its length, all gaps stay. */
export function withOrder(text, shots, from, to, end) {
    const order = shots.map((_, i) => i);
    order.splice(to, 0, ...order.splice(from, 1));
    const lengths = shots.map((shot, i) => (shots[i + 1]?.start ?? end) - shot.start);
    let start = 0;
    const blocks = order.map((i, place) => {
        const moved = movedBlock(text, shots[i], rounded(start), place === 0);
        start += lengths[i];
        return moved;
    });
    return spliced(text, shots.map(({ block }, i) => ({ ...block, text: blocks[i] })));
}

/** The text without shot `i`: the one before goes on, or the next one begins at 0. */
export function withoutShot(text, shots, i) {
    const { from, to } = shots[i].block;
    const after = /^(\r\n|[^])?/.exec(text.slice(to))[0].length;
    if (i === 0)
        return spliced(text, [
            { from, to: to + after, text: "" },
            { ...shots[1].block, text: movedBlock(text, shots[1], 0, true) },
        ]);
    if (i < shots.length - 1) return spliced(text, [{ from, to: to + after, text: "" }]);
    const ahead = /(\r\n|[^])$/.exec(text.slice(0, from))[0].length;
    return spliced(text, [{ from: from - ahead, to, text: "" }]);
}

/** The text with one shot more after shot `i`, or the first one of all for -1. */
export function withShot(text, shots, i, start, words) {
    const seconds = rounded(start);
    if (i < 0) return `${text}${text && !/[\r\n]$/.test(text) ? breakOf(text) : ""}[0s] ${words}`;
    const { block } = shots[i];
    const head = block.header ? "" : "[0s] ";
    const line = `${breakOf(text)}[${seconds}s cut] ${words}`;
    return spliced(text, [
        { from: block.parts[0].from, to: block.parts[0].from, text: head },
        { from: block.to, to: block.to, text: line },
    ]);
}

function movedBlock(text, { block, start }, seconds, first) {
    const { header } = block;
    const changes = [];
    if (!same(seconds, start))
        changes.push({ ...header.tokens.time, text: written(seconds, header.tokens.time.text) });
    const cut = first && dissolveChange(header, null);
    if (cut) changes.push(cut);
    const own = changes.map((change) => ({
        from: change.from - block.from, to: change.to - block.from, text: change.text,
    }));
    return spliced(text.slice(block.from, block.to), own);
}

/** What makes of a header a cut (0), a dissolve (seconds), or neither (null). */
function dissolveChange(header, seconds) {
    const { time, transition, dissolve } = header.tokens;
    const soft = transition?.text.toLowerCase() === "dissolve";
    const last = soft ? (dissolve ?? transition) : transition;
    if (seconds === null)
        return soft ? { from: before(header, transition), to: last.to, text: "" } : null;
    const words = seconds ? `dissolve ${rounded(seconds)}s` : "cut";
    if (transition) return { from: transition.from, to: last.to, text: words };
    return seconds ? { from: time.to, to: time.to, text: ` ${words}` } : null;
}

/** Where the word before `word` ends: what lies between goes with it. */
function before(header, word) {
    return header.words[header.words.indexOf(word) - 1].to;
}

/** Whether two times are the same millisecond: then what is written stays, however finely. */
function same(a, b) {
    return Math.abs(a - b) < 0.0005;
}

/** A time in the form in which one was written before: 5, 5s or 1:05. */
function written(seconds, like) {
    const unit = /s$/i.exec(like)?.[0] ?? "";
    if (!like.includes(":")) return `${seconds}${unit}`;
    const minutes = Math.floor(seconds / 60);
    const [whole, part] = String(rounded(seconds - 60 * minutes)).split(".");
    return `${minutes}:${whole.padStart(2, "0")}${part ? `.${part}` : ""}${unit}`;
}

/** The end of line that the text uses. */
function breakOf(text) {
    return text.includes("\r\n") ? "\r\n" : "\n";
}

/** How far the second line of a prompt is indented. */
function indent(text, parts) {
    if (parts.length < 2) return "    ";
    return /[^\r\n]*$/.exec(text.slice(0, parts[1].from))[0];
}

/** A line of a prompt with the break before it, unless its header stands there as well. */
function wholeLine(text, part) {
    const lead = /(\r\n|[\r\n])[^\S\r\n]*$/.exec(text.slice(0, part.from));
    if (!lead) return part;
    const trail = /^[^\S\r\n]*/.exec(text.slice(part.to))[0];
    return { from: part.from - lead[0].length, to: part.to + trail.length };
}

function inserted(text, at, words) {
    return spliced(text, [{ from: at, to: at, text: words }]);
}

function spliced(text, changes) {
    const sorted = [...changes].sort((a, b) => b.from - a.from || b.to - a.to);
    return sorted.reduce((out, { from, to, text: put }) => out.slice(0, from) + put + out.slice(to), text);
}
