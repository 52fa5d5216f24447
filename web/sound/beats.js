/**
 * The beats of a piece of music, as engine/take/beats.py finds them: loudness that rises from one moment
 * to the next, and the path through its peaks that is both strong and even (Ellis 2007).
 */

export const RATE = 11_025; // samples a second
const [WINDOW, HOP] = [512, 128]; // samples
const USUAL_OVER = 65; // moments whose mean is what is usual
const LATE = WINDOW / 2 / RATE; // seconds from where a window begins to the note in its middle
const [SLOWEST, FASTEST] = [55, 210]; // beats a minute
const [USUAL, OCTAVES] = [120, 0.6];
const EVENNESS = 100;
const PER_SECOND = RATE / HOP;
const AT_A_TIME = 2000; // moments, between which the page may draw

/** wave: mono samples at RATE -> {beats: seconds, ascending; tempo: beats a minute, 0 for none}. */
export async function rhythm(wave) {
    const strength = await onsetStrength(wave);
    if (strength.length < 4 || !strength.some((value) => value > 0)) return { beats: [], tempo: 0 };
    const period = periodOf(strength);
    const spread = deviation(strength);
    const beats = track(strength.map((value) => value / spread), period);
    return { beats: beats.map((t) => t / PER_SECOND + LATE), tempo: (60 * PER_SECOND) / period };
}

/** How much begins at each moment, less what is usual around it. */
async function onsetStrength(wave) {
    if (wave.length < WINDOW + HOP) return new Float64Array(0);
    const count = Math.floor((wave.length - WINDOW) / HOP) + 1;
    const [flux, transform] = [new Float64Array(count), fourier()];
    let before = null;
    for (let t = 0; t < count; t++) {
        if (t % AT_A_TIME === AT_A_TIME - 1) await new Promise((resolve) => setTimeout(resolve));
        const loud = transform(wave.subarray(t * HOP, t * HOP + WINDOW));
        for (let k = 0; before && k < loud.length; k++) flux[t] += Math.max(0, loud[k] - before[k]);
        before = loud;
    }
    const width = Math.min(USUAL_OVER, count);
    const lead = (width - 1) >> 1;
    const sums = new Float64Array(count + 1);
    for (let t = 0; t < count; t++) sums[t + 1] = sums[t] + flux[t];
    return flux.map((value, t) => {
        const [first, last] = [Math.max(0, t + lead - width + 1), Math.min(count, t + lead + 1)];
        return Math.max(0, value - (sums[last] - sums[first]) / width);
    });
}

/** A function from WINDOW samples to the loudness of their pitches. */
function fourier() {
    const angle = (k, of) => (2 * Math.PI * k) / of;
    const shape = Float64Array.from({ length: WINDOW }, (_, k) => 0.5 - 0.5 * Math.cos(angle(k, WINDOW - 1)));
    const cos = Float64Array.from({ length: WINDOW / 2 }, (_, k) => Math.cos(angle(k, WINDOW)));
    const sin = Float64Array.from({ length: WINDOW / 2 }, (_, k) => -Math.sin(angle(k, WINDOW)));
    const bits = Math.log2(WINDOW);
    const mirrored = Uint16Array.from({ length: WINDOW }, (_, k) => {
        let out = 0;
        for (let b = 0; b < bits; b++) out |= ((k >> b) & 1) << (bits - 1 - b);
        return out;
    });
    const [re, im] = [new Float64Array(WINDOW), new Float64Array(WINDOW)];
    return (samples) => {
        im.fill(0);
        for (let k = 0; k < WINDOW; k++) re[mirrored[k]] = samples[k] * shape[k];
        for (let size = 2; size <= WINDOW; size *= 2) butterflies(re, im, cos, sin, size);
        const loud = new Float32Array(WINDOW / 2 + 1);
        for (let k = 0; k < loud.length; k++) loud[k] = Math.log1p(10 * Math.hypot(re[k], im[k]));
        return loud;
    };
}

function butterflies(re, im, cos, sin, size) {
    const [half, step] = [size / 2, WINDOW / size];
    for (let begin = 0; begin < WINDOW; begin += size)
        for (let k = 0; k < half; k++) {
            const [a, b, turn] = [begin + k, begin + k + half, k * step];
            const x = re[b] * cos[turn] - im[b] * sin[turn];
            const y = re[b] * sin[turn] + im[b] * cos[turn];
            re[b] = re[a] - x;
            im[b] = im[a] - y;
            re[a] += x;
            im[a] += y;
        }
}

/** Moments from beat to beat: the lag at which the strength is most like itself. */
function periodOf(strength) {
    const perMinute = 60 * PER_SECOND;
    const longest = Math.min(strength.length - 1, Math.floor(perMinute / SLOWEST) + 1);
    const alike = Float64Array.from({ length: Math.min(strength.length, longest + 2) }, (_, lag) => {
        let sum = 0;
        for (let t = lag; t < strength.length; t++) sum += strength[t] * strength[t - lag];
        return sum;
    });
    let [best, most] = [0, -Infinity];
    const last = Math.min(strength.length - 1, Math.max(2, longest));
    for (let lag = Math.max(2, Math.floor(perMinute / FASTEST)); lag <= last; lag++) {
        const octaves = Math.log2(perMinute / lag / USUAL);
        const score = alike[lag] * Math.exp(-0.5 * (octaves / OCTAVES) ** 2);
        if (score > most) [best, most] = [lag, score];
    }
    return best ? best + between(alike, best) : perMinute / USUAL;
}

/** Where between its samples a peak lies, by a parabola: -0.5 … 0.5. */
function between(curve, peak) {
    if (!(peak > 0 && peak < curve.length - 1)) return 0;
    const [before, here, after] = [curve[peak - 1], curve[peak], curve[peak + 1]];
    const bend = before - 2 * here + after;
    return bend < 0 ? Math.max(-0.5, Math.min(0.5, (0.5 * (before - after)) / bend)) : 0;
}

/** The moments of the beats: the best path through the strength at steps of about `period`. */
function track(strength, period) {
    const [least, most] = [even(period / 2), even(2 * period)];
    const cost = Float64Array.from(
        { length: most - least + 1 }, (_, k) => EVENNESS * Math.log((least + k) / period) ** 2,
    );
    const total = Float64Array.from(strength);
    const source = new Int32Array(strength.length).fill(-1);
    for (let t = least; t < strength.length; t++) {
        let [best, from] = [0, -1];
        for (let k = 0; k < cost.length && t - least - k >= 0; k++) {
            const path = total[t - least - k] - cost[k];
            if (path > best) [best, from] = [path, t - least - k];
        }
        if (from >= 0) [total[t], source[t]] = [strength[t] + best, from];
    }
    let at = total.length - 1;
    for (let t = at; t > total.length - 1 - even(2 * period) && t >= 0; t--) if (total[t] > total[at]) at = t;
    const beats = [];
    for (; at >= 0; at = source[at]) beats.unshift(at + between(strength, at));
    return beats;
}

/** Rounded as Python does: halves to the even number. */
function even(value) {
    const down = Math.floor(value);
    return value - down === 0.5 ? down + (down % 2) : Math.round(value);
}

function deviation(values) {
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
}
