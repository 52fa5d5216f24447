/** The sound under the shots: its waveform, and a line for each beat. */

/**
 * Draw sound = {peaks, seconds, beats}, or nothing for null. Peaks are the loudest samples, 0 … 1, of
 * equal parts of it. Where a cut falls on a beat, that has a head.
 */
export function drawSound({ sound: canvas, scale, root }, sound, end, cuts) {
    canvas.hidden = !sound;
    if (!sound) return;
    const width = Math.min(16_000, Math.max(1, Math.round(end * scale)));
    const height = canvas.clientHeight || 22;
    const fine = window.devicePixelRatio || 1;
    canvas.width = Math.min(16_000, width * fine);
    canvas.height = height * fine;
    const pen = canvas.getContext("2d");
    pen.scale(canvas.width / width, fine);
    const style = getComputedStyle(root);
    drawPeaks(pen, sound, { width, height, scale }, style.getPropertyValue("--lt-wave"));
    pen.fillStyle = style.getPropertyValue("--lt-beat");
    for (const beat of sound.beats) {
        const [x, taken] = [Math.round(beat * scale), cuts.includes(beat)];
        pen.fillRect(x, 0, 1, height);
        if (taken) drawHead(pen, x + 0.5, height);
    }
}

function drawPeaks(pen, { peaks, seconds }, { width, height, scale }, colour) {
    if (!peaks?.length) return;
    pen.fillStyle = colour;
    const loudest = Math.max(1e-6, ...peaks);
    for (let x = 0; x < width; x++) {
        const at = x / scale / seconds;
        if (at >= 1) break;
        const tall = Math.max(1, (peaks[Math.floor(at * peaks.length)] / loudest) * height);
        pen.fillRect(x, (height - tall) / 2, 1, tall);
    }
}

function drawHead(pen, x, height) {
    pen.beginPath();
    pen.moveTo(x - 4, height - 6);
    pen.lineTo(x + 4, height - 6);
    pen.lineTo(x, height);
    pen.fill();
}
