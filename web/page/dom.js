/** Elements of the page, made in a line. */

/** An element with these attributes (functions are listeners, `class`, `text` and `style` as named). */
export function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
        if (value === null || value === undefined || value === false) continue;
        if (key === "text") made.textContent = value;
        else if (key === "style") Object.assign(made.style, value);
        else if (typeof value === "function") made.addEventListener(key, value);
        else made.setAttribute(key, value === true ? "" : value);
    }
    made.append(...children.filter(Boolean));
    return made;
}

/** A drawing of 16 by 16 in the colour of the text around it. */
export function icon(path) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 16 16");
    svg.setAttribute("aria-hidden", "true");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    line.setAttribute("d", path);
    svg.append(line);
    return svg;
}

export const ICONS = {
    add: "M8 3v10M3 8h10",
    split: "M8 2v12M5 5 2.5 8 5 11M11 5l2.5 3L11 11",
    remove: "M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.6 9h5.800l.6-9",
    undo: "M6 3 3 6l3 3M3 6h6.5a3.5 3.5 0 0 1 0 7H6",
    redo: "M10 3l3 3-3 3M13 6H6.5a3.5 3.5 0 0 0 0 7H10",
    lock: "M4 7.5h8v6H4zM5.5 7.5V5a2.5 2.5 0 0 1 5 0v2.5",
    dissolve: "M2 13 14 3v10z",
    play: "M5 3l8 5-8 5z",
};

/** Put our looks on the page, once. */
export function addStyle() {
    const href = new URL("./longtake.css", import.meta.url).href;
    if (document.querySelector(`link[href="${href}"]`)) return;
    document.head.append(element("link", { rel: "stylesheet", href }));
}
