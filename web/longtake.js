/** Longtake in ComfyUI's pages. */

import { app } from "../../scripts/app.js";
import { addBoard } from "./brush/on_node.js";
import { choices, hasVideo, title, videoMenu } from "./menus/from_video.js";
import { addStyle } from "./page/dom.js";
import { nodeAt } from "./page/graph.js";
import { openMenu } from "./page/menu.js";
import { showPreview, showVideo } from "./page/preview.js";
import { widgetOf } from "./page/widget.js";
import { speak } from "./page/words.js";
import { addStrip } from "./storyboard/on_node.js";
import { offerTemplates } from "./templates/offer.js";

const GO_ON = "Longtake.GoOnFromVideo";
const SECONDS = 0.1; // what an arrow beside a time adds, as against the digits that are kept
const ARROWS = { fps: 1, image_fps: 1, tempo: 1, megapixels: 0.1 };
offerTemplates(app.api); // before the page asks for them
speak(() => app.ui.settings.getSettingValue("Comfy.Locale"));
let pointer = [200, 200]; // where it was pressed last, for a menu that a button opens

app.registerExtension({
    name: "longtake",
    setup() {
        addStyle();
        const press = (event) => (pointer = [event.clientX, event.clientY]);
        window.addEventListener("pointerdown", press, { capture: true, passive: true });
        app.api.addEventListener("executed", showAgain);
        app.api.addEventListener("b_preview_with_metadata", ({ detail }) => {
            const { node, key } = nodeAt(app, detail?.displayNodeId);
            if (samples(node)) showPreview(app, node, key);
        });
    },
    nodeCreated(node) {
        if (isOurs(node)) {
            keepSeed(node);
            coarsenArrows(node);
        }
        if (node.comfyClass === "LongtakeStoryboard") addStrip(app, node);
        if (node.comfyClass === "LongtakeMotionBrush") addBoard(app, node);
    },
    getNodeMenuItems(node) {
        return videoMenu(app, node);
    },
    // Nodes 2.0 of older front-ends shows no entries of extensions, but their buttons.
    commands: [{ id: GO_ON, label: title, icon: "pi pi-forward", function: goOn }],
    getSelectionToolboxCommands(item) {
        return hasVideo(item) ? [GO_ON] : [];
    },
});

function isOurs(node) {
    return Boolean(node?.comfyClass?.startsWith("Longtake"));
}

function samples(node) {
    return node?.comfyClass === "LongtakeLongTake";
}

/** Older front-ends begin with another seed for each run, and cannot be told otherwise. */
function keepSeed(node) {
    const control = widgetOf(node, "control_after_generate");
    if (control) control.value = "fixed"; // what was saved comes later, and stays
}

/** Arrows add what ears and eyes tell apart; what is typed keeps its thousandths. */
function coarsenArrows(node) {
    for (const { name, options } of node.widgets ?? []) {
        if (!options?.step2) continue;
        const step = ARROWS[name] ?? (options.precision === 3 ? SECONDS : null);
        if (step) options.step2 = step;
    }
}

/** What a node shows while it runs comes with its cached output, too, and is shown as it was. */
function showAgain({ detail }) {
    const id = String(detail?.display_node ?? detail?.node);
    const [text] = detail?.output?.text ?? [];
    const { node, key } = nodeAt(app, id);
    if (!isOurs(node)) return;
    if (samples(node) && detail.output?.animated) showVideo(app, node, key); // it was stopped
    if (typeof text !== "string") return;
    app.api.dispatchCustomEvent("progress_text", { nodeId: id, text });
}

function goOn() {
    const node = Object.values(app.canvas.selected_nodes ?? {}).find(hasVideo);
    if (node) openMenu(choices(app, node), pointer[0] - 20, pointer[1] + 16);
}
