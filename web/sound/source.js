/** The sound that goes into a node, where the browser can have it: a drum beat, or a file. */

import { fileIn } from "../page/files.js";
import { nodeInto } from "../page/graph.js";
import { valueOf } from "../page/widget.js";
import { RATE, rhythm } from "./beats.js";

const SOUND = /\.(mp3|wav|flac|ogg|oga|opus|m4a|aac|mp4|m4v|mov|webm|mkv)$/i;
const PARTS = 4000; // of the waveform
const known = new Map(); // what files sound like, by their place
const MOST_KNOWN = 8;

/** What goes into input `audio`: {url, start, seconds} of a file, {tempo, …} of a beat, or null. */
export function sourceOf(node, urlOf) {
    const from = nodeInto(node, "audio");
    if (!from) return null;
    const value = (name) => valueOf(from, name);
    if (from.comfyClass === "LongtakeBeat")
        return { tempo: value("tempo"), seconds: value("seconds"), offset: value("offset") };
    const file = fileIn(from, SOUND);
    if (!file) return null;
    const own = from.comfyClass === "LongtakeLoadAudio";
    return { url: urlOf(file), start: own ? value("start") : 0, seconds: own ? value("seconds") : 0 };
}

/** {peaks, seconds, beats, tempo} of a source; null where it cannot be read. */
export async function soundOf(source, get) {
    if (!source) return null;
    if (!source.url) return beatOf(source);
    const wave = await waveOf(source.url, get);
    if (!wave) return null;
    const first = Math.round((source.start || 0) * RATE);
    const part = wave.subarray(first, source.seconds > 0 ? first + Math.round(source.seconds * RATE) : undefined);
    if (!part.length) return null;
    return { peaks: peaksOf(part), seconds: part.length / RATE, ...(await rhythm(part)) };
}

function beatOf({ tempo, seconds, offset }) {
    const count = Math.max(0, Math.ceil(((seconds - offset) * tempo) / 60));
    const beats = Array.from({ length: count }, (_, k) => offset + (k * 60) / tempo);
    return { peaks: null, seconds, beats, tempo };
}

/** Samples of a file at RATE, all channels as one. */
async function waveOf(url, get) {
    if (!known.has(url)) {
        if (known.size >= MOST_KNOWN) known.delete(known.keys().next().value);
        known.set(url, decoded(url, get).catch(() => null));
    }
    return known.get(url);
}

async function decoded(url, get) {
    const answer = await get(url);
    if (!answer.ok) return null;
    const bytes = await answer.arrayBuffer();
    const sound = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(bytes);
    const wave = new Float32Array(sound.length);
    for (let c = 0; c < sound.numberOfChannels; c++)
        sound.getChannelData(c).forEach((value, t) => (wave[t] += value / sound.numberOfChannels));
    return wave;
}

/** The loudest sample of each of equal parts. */
function peaksOf(wave) {
    const peaks = new Float32Array(Math.min(PARTS, wave.length));
    for (let t = 0; t < wave.length; t++) {
        const part = Math.floor((t * peaks.length) / wave.length);
        peaks[part] = Math.max(peaks[part], Math.abs(wave[t]));
    }
    return peaks;
}
