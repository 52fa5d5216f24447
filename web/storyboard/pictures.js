/**
 * What Long Take tells of a take it has made: a picture of the middle of each shot, and where the
 * video is. A shot is known again by its words, so that a card which moved keeps its picture.
 */

/** From a node's output to [{words, url, video: {url, start, end}}]. */
export function picturesIn(output, urlOf) {
    const video = output.longtake_take?.[0];
    return (output.longtake_shots ?? []).map(({ words, start, end, ...file }) => ({
        words, url: urlOf(file), video: video ? { url: urlOf(video), start, end } : null,
    }));
}

export function pictureOf(pictures, words) {
    return pictures.find((picture) => picture.words === words) ?? null;
}
