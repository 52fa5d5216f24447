/** Longtake in ComfyUI's pages. */

import { app } from "../../scripts/app.js";
import { TITLE, choices, hasVideo, videoMenu } from "./menus/from_video.js";
import { addStyle } from "./page/dom.js";
import { openMenu } from "./page/menu.js";
import { addStrip } from "./storyboard/on_node.js";

const GO_ON = "Longtake.GoOnFromVideo";
let pointer = [200, 200]; // where it was pressed last, for a menu that a button opens

app.registerExtension({
    name: "longtake",
    setup() {
        addStyle();
        const press = (event) => (pointer = [event.clientX, event.clientY]);
        window.addEventListener("pointerdown", press, { capture: true, passive: true });
    },
    nodeCreated(node) {
        if (node.comfyClass === "LongtakeStoryboard") addStrip(app, node);
    },
    getNodeMenuItems(node) {
        return videoMenu(app, node);
    },
    // Nodes 2.0 of older front-ends shows no entries of extensions, but their buttons.
    commands: [{ id: GO_ON, label: TITLE, icon: "pi pi-forward", function: goOn }],
    getSelectionToolboxCommands(item) {
        return hasVideo(item) ? [GO_ON] : [];
    },
});

function goOn() {
    const node = Object.values(app.canvas.selected_nodes ?? {}).find(hasVideo);
    if (node) openMenu(choices(app, node), pointer[0] - 20, pointer[1] + 16);
}
