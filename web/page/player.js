/** One shot of a take, played in a box over the page. */

import { element } from "./dom.js";

/** Play a part of a video, again and again, until Escape or a click elsewhere. */
export function play({ url, start, end }, words) {
    const video = element("video", { src: url, controls: true, autoplay: true, muted: true });
    const box = element("dialog", { class: "longtake-player", "aria-label": words }, video,
        element("p", { text: words }));
    video.muted = true;
    video.addEventListener("loadedmetadata", () => (video.currentTime = start));
    video.addEventListener("timeupdate", () => {
        if (video.currentTime >= end - 0.02 || video.currentTime < start - 0.2) video.currentTime = start;
    });
    box.addEventListener("click", (event) => event.target === box && box.close());
    box.addEventListener("keydown", (event) => event.stopPropagation());
    box.addEventListener("close", () => box.remove());
    document.body.append(box);
    box.showModal();
}
