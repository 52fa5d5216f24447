/** Nodes put beside a graph: columns to the right of all that is there, wired, with a group around them. */

import { giverOf } from "../page/graph.js";
import { widgetOf } from "../page/widget.js";

const [GAP, WIDTH, HEADER, MARGIN] = [60, 320, 40, 20];
const TALLER = 1.3; // nodes of Nodes 2.0 than those on the canvas
const LOADERS = {
    model: ["MODEL", "LongtakeLoadModel"],
    clip: ["CLIP", "LongtakeLoadTextEncoder"],
    vae: ["VAE", "LongtakeLoadVAE"],
};

export class Builder {
    #left;
    #heights = new Map();

    /** node: the one that is gone on from. */
    constructor(node) {
        this.node = node;
        this.graph = node.graph;
        this.made = {}; // by the names of their steps
        this.sources = {}; // {node, slot} of what is there already
        const there = [...(this.graph.nodes ?? this.graph._nodes), ...(this.graph.groups ?? [])];
        this.#left = Math.max(...there.map(({ pos, size }) => pos[0] + size[0])) + GAP + MARGIN;
    }

    add(type, column, key, { title, widgets = {} } = {}) {
        const one = globalThis.LiteGraph.createNode(type);
        if (!one) throw new Error(`no node is called ${type}`);
        one.setSize([WIDTH, Math.max(one.size[1], one.computeSize()[1])]);
        const y = this.#heights.get(column) ?? this.node.pos[1];
        one.pos = [this.#left + column * (WIDTH + GAP), y];
        this.graph.add(one); // Nodes 2.0 asks for a node's place now and never again
        const tall = globalThis.LiteGraph.vueNodesMode ? TALLER : 1;
        this.#heights.set(column, y + one.size[1] * tall + GAP);
        if (title) one.title = title;
        write(one, widgets);
        this.made[key] = one;
        return one;
    }

    /** All steps of a recipe, with loaders for what the graph does not have. */
    put(steps) {
        const used = Object.values(steps).flatMap(({ links }) => Object.values(links));
        for (const [key, [type, loader]] of Object.entries(LOADERS))
            if (used.includes(key))
                this.sources[key] = giverOf(this.node, type) ?? { node: this.add(loader, 0, key), slot: 0 };
        const shift = this.#heights.size;
        for (const [key, { type, column, links, ...more }] of Object.entries(steps)) {
            const one = this.add(type, column + shift, key, more);
            for (const [input, from] of Object.entries(links)) this.#connect(one, input, from);
        }
    }

    #connect(node, input, from) {
        const [key, name] = from.split(".");
        const source = this.sources[key] ?? { node: this.made[key], slot: slotOf(this.made[key], name) };
        const slot = node.inputs.findIndex((one) => one.name === input);
        if (slot >= 0) source.node.connect(source.slot, node, slot);
    }

    /** A group around all that was made, which is returned. */
    frame(title) {
        const all = Object.values(this.made);
        const group = new globalThis.LiteGraph.LGraphGroup(title);
        const left = Math.min(...all.map(({ pos }) => pos[0])) - MARGIN;
        const top = Math.min(...all.map(({ pos }) => pos[1])) - HEADER - 2 * MARGIN;
        const right = Math.max(...all.map(({ pos, size }) => pos[0] + size[0])) + MARGIN;
        const bottom = Math.max(...all.map(({ pos, size }) => pos[1] + size[1])) + MARGIN;
        group.pos = [left, top];
        group.size = [right - left, bottom - top];
        this.graph.add(group);
        return all;
    }
}

/** Widgets by name; those that a node does not have, or that are undefined, are left alone. */
function write(node, widgets) {
    for (const [name, value] of Object.entries(widgets)) {
        const widget = widgetOf(node, name);
        if (!widget || value === undefined) continue;
        const values = widget.options?.values; // a menu that does not list a file which is there
        if (Array.isArray(values) && !values.includes(value)) values.push(value);
        widget.value = value;
        widget.callback?.(value);
    }
}

/** An output by its name, in which hosts differ by capitals; the first one for any other. */
function slotOf(node, name) {
    return Math.max(0, node.outputs.findIndex((output) => output.name.toLowerCase() === name));
}
