/** Time <-> pixels on the strip, and where cuts may go. Pure arithmetic; seconds and CSS pixels. */

const NARROWEST = 30; // pixels of the shortest shot, where that needs no more than MOST times the room
const MOST = 4;
const TICK = 52; // pixels from one time on the ruler to the next, at least
const NEAR = 7; // pixels within which a beat draws a cut to itself
const STEPS = [0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
export const SHORTEST = 0.1; // seconds of a shot, where no frame rate says how long a frame is

/** When each shot ends. */
export function endsOf(shots, end) {
    return shots.map((_, i) => shots[i + 1]?.start ?? end);
}

/** When a storyboard ends of which nobody says it: a little after its last shot begins. */
export function guessedEnd(shots) {
    const last = shots.at(-1);
    return last ? last.start + Math.max(2, last.dissolve) : 2;
}

/** How many pixels a second takes, for a strip that is `width` wide and scrolls if it must. */
export function pixelsPerSecond(shots, end, width) {
    const whole = width / end;
    const shortest = Math.min(...endsOf(shots, end).map((stop, i) => stop - shots[i].start));
    return shortest > 0 ? Math.min(Math.max(whole, NARROWEST / shortest), whole * MOST) : whole;
}

/** Times on the ruler: [seconds, what stands there]. */
export function ticks(end, scale) {
    const step = STEPS.find((seconds) => seconds * scale >= TICK) ?? STEPS.at(-1);
    const count = Math.floor(end / step + 1e-9);
    return Array.from({ length: count + 1 }, (_, i) => [i * step, label(i * step)]);
}

/** Seconds for people: 4.5, 1:05. */
export function label(seconds) {
    const rounded = Number(seconds.toFixed(3));
    if (rounded < 60) return String(rounded);
    const minutes = Math.floor(rounded / 60);
    const rest = Number((rounded - 60 * minutes).toFixed(3));
    return `${minutes}:${rest < 10 ? "0" : ""}${rest}`;
}

/** Where a cut goes that is pulled to `seconds`: a beat nearby, else a round time; `free`: a frame. */
export function settled(seconds, { scale, beats = [], fps = 0, free = false }) {
    if (free) return fps > 0 ? Math.round(seconds * fps) / fps : seconds;
    const beat = beats.reduce(
        (best, at) => (Math.abs(at - seconds) < Math.abs(best - seconds) ? at : best), Infinity,
    );
    if (Math.abs(beat - seconds) * scale <= NEAR) return beat;
    const step = STEPS.find((size) => size * scale >= 4) ?? 1;
    return Math.round(seconds / step) * step;
}

/**
 * All starts and the end after the cut before shot `i` (or the end, where `i` is their number) was
 * pulled to `seconds`: no shot becomes shorter than its dissolve, nor than a frame. With `along`, all
 * that comes after moves as well; `fixed` says that the end cannot be moved.
 */
export function pulled(shots, end, i, seconds, { fps = 0, along = false, fixed = false } = {}) {
    const least = (k) => Math.max(shots[k].dissolve, fps > 0 ? 1 / fps : SHORTEST);
    const starts = shots.map((shot) => shot.start);
    const now = i < shots.length ? starts[i] : end;
    const low = starts[i - 1] + least(i - 1);
    let high = Infinity;
    if (along && fixed) high = now + (end - starts.at(-1) - least(shots.length - 1));
    else if (!along && i < shots.length) high = (starts[i + 1] ?? end) - least(i);
    const to = Math.max(low, Math.min(high, seconds));
    const moves = (k) => (along ? k >= i : k === i);
    const moved = starts.map((start, k) => (moves(k) ? start + to - now : start));
    return { starts: moved, end: i === shots.length || (along && !fixed) ? end + to - now : end };
}

/** Before which shot one is put that is let go at `x` pixels: 0 … their number. */
export function placeAt(shots, end, scale, x) {
    const middles = endsOf(shots, end).map((stop, i) => ((shots[i].start + stop) / 2) * scale);
    return middles.filter((middle) => middle < x).length;
}

/**
 * Where each cut falls when the graph is run: on the nearest beat that no cut before it has taken, if one
 * is at most `most` seconds away. As `snapped` in engine/take/beats.py.
 */
export function onBeats(starts, beats, most, end) {
    const out = starts.slice(0, 1);
    starts.slice(1).forEach((start, i) => {
        const ceiling = i + 2 < starts.length ? Math.max(start, starts[i + 2]) : end;
        const free = beats.filter((at) => out.at(-1) < at && at < ceiling && Math.abs(at - start) <= most);
        const nearest = free.reduce(
            (best, at) => (best === null || Math.abs(at - start) < Math.abs(best - start) ? at : best), null,
        );
        out.push(nearest !== null && nearest > out.at(-1) ? nearest : start);
    });
    return out;
}
