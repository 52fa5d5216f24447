/**
 * What Long Take tells of a take it has made: a picture of the middle of each shot, and where the
 * video is. A shot is known again by its words, so that a card which moved keeps its picture.
 */

/** From a node's output to [{words, url, video: {url, start, end}}]; empty for any other node's. */
export function picturesIn(output, urlOf) {
    const told = output?.longtake_shots?.[0];
    if (!told) return [];
    const { video, shots } = JSON.parse(told);
    const place = (filename) => urlOf({ filename, type: "temp" });
    return shots.filter(({ picture }) => picture).map(({ words, start, end, picture }) => ({
        words, url: place(picture), video: { url: place(video), start, end },
    }));
}

export function pictureOf(pictures, words) {
    return pictures.find((picture) => picture.words === words) ?? null;
}
