/** Longtake in ComfyUI's pages. */

import { app } from "../../scripts/app.js";
import { addStrip } from "./storyboard/on_node.js";

app.registerExtension({
    name: "longtake",
    nodeCreated(node) {
        if (node.comfyClass === "LongtakeStoryboard") addStrip(node, () => app.queuePrompt(0));
    },
});
