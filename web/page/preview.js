/** What a node shows of its work: a picture while it samples, and a video if it was stopped.
 *
 * Pages show one or the other, and the picture wins, so each takes the other's place here.
 */

const PICTURES = ["$$canvas-image-preview", "$$comfy_animation_preview"];
const A_WHILE = 500; // milliseconds

/** Where pages keep what they show of nodes: in the open, and in a store of Vue's. */
function kept(app, what) {
    const page = document.querySelector("#vue-app")?.__vue_app__;
    const stores = page?.config.globalProperties.$pinia?._s;
    return [app[what] ?? {}, stores?.get("nodeOutput")?.[what] ?? {}];
}

function forget(app, what, id) {
    for (const known of kept(app, what)) delete known[id];
}

/** The video that a node has just sent is shown in place of its last preview. */
export function showVideo(app, node, id) {
    forget(app, "nodePreviewImages", id);
    node.previewMediaType = "video"; // pages take it for a picture otherwise
    takeDown(node, PICTURES);
    setTimeout(() => {
        if (node.previewMediaType !== "video" || !node.imgs) return;
        takeDown(node, PICTURES); // one that was still being read
        app.canvas?.setDirty(true, true);
    }, A_WHILE);
}

function takeDown(node, names) {
    const widgets = node.widgets?.filter((widget) => names.includes(widget.name)) ?? [];
    for (const widget of widgets) node.removeWidget(widget);
    node.imgs = undefined;
}

/** A preview that comes is shown in place of the video of an earlier run. */
export function showPreview(app, node, id) {
    if (node.previewMediaType !== "video") return;
    forget(app, "nodeOutputs", id);
    Object.assign(node, { previewMediaType: "image", images: undefined, animatedImages: false });
    node.videoContainer = undefined;
    takeDown(node, ["video-preview"]);
}
