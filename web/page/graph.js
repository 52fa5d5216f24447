/** What a node's inputs come from, however far away. */

/** The nodes before a node, nearest first, each with the links through which it is reached. */
export function* before(node) {
    const seen = new Set([node]);
    const waiting = [node];
    while (waiting.length) {
        const here = waiting.shift();
        for (const { name, link } of here.inputs ?? []) {
            const found = linkOf(here.graph, link);
            const from = found && here.graph.getNodeById(found.origin_id);
            if (!from) continue;
            const slot = found.origin_slot;
            yield { node: from, slot, type: from.outputs[slot]?.type, input: name };
            if (!seen.has(from)) waiting.push(from);
            seen.add(from);
        }
    }
}

/** {node, slot} that goes into an input of a node; null for none. */
export function into(node, name) {
    const link = linkOf(node.graph, node.inputs?.find((input) => input.name === name)?.link);
    const from = link && node.graph.getNodeById(link.origin_id);
    return from ? { node: from, slot: link.origin_slot } : null;
}

/** The node that goes into an input, past reroutes; null for none. */
export function nodeInto(node, name) {
    let from = into(node, name)?.node;
    while (from?.type === "Reroute") from = from.inputs?.[0] && into(from, from.inputs[0].name)?.node;
    return from ?? null;
}

/** {node, slot} of what nodes of a graph give of a type: what `node` uses itself, else any. */
export function giverOf(node, type) {
    for (const found of before(node)) if (found.type === type) return found;
    for (const other of node.graph.nodes ?? node.graph._nodes) {
        const slot = other.outputs?.findIndex((output) => output.type === type) ?? -1;
        if (slot >= 0) return { node: other, slot };
    }
    return null;
}

function linkOf(graph, id) {
    if (id === null || id === undefined) return null;
    return graph.getLink?.(id) ?? graph.links?.get?.(id) ?? graph.links?.[id] ?? null;
}

/** The node that a server names by its way through subgraphs ("5:4"), and the name that pages keep
 *  what they show of it by; nothing where there is none. */
export function nodeAt(app, way) {
    const root = app.rootGraph ?? app.graph;
    let node = null, graph = root;
    for (const id of String(way).split(":")) {
        node = graph?.getNodeById(id);
        graph = node?.subgraph;
    }
    if (!node) return {};
    return { node, key: node.graph === root ? String(node.id) : `${node.graph.id}:${node.id}` };
}
