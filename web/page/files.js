/** Files of ComfyUI's folders, as its pages name them. */

/** "folder/name.mp4 [output]" -> {filename, subfolder, type}. */
export function annotated(name) {
    const [, path, type = "input"] = /^(.*?)(?: \[(\w+)\])?$/.exec(name);
    const slash = path.lastIndexOf("/");
    return { filename: path.slice(slash + 1), subfolder: path.slice(0, Math.max(0, slash)), type };
}

/** The first file that a node's widgets name, of those whose names end as a pattern says. */
export function fileIn(node, ending) {
    const named = (node?.widgets ?? []).map((widget) => String(widget.value ?? ""));
    return named.find((name) => ending.test(name.replace(/ \[\w+\]$/, "")));
}

/** Where the server has a file, as its own requests are made. */
export function routeOf({ filename, subfolder = "", type = "output" }) {
    return `/view?${new URLSearchParams({ filename, subfolder, type })}`;
}
