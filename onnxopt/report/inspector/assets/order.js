// What holds for all steps together: one order of the nodes, and every edge that there ever is.

const PAIR = 2 ** 26; // more than there are nodes: two numbers of nodes in one

// All nodes that a scope ever has, in one order: that of the input model, new ones behind what they read.
function unionOrder(story, scope) {
  let order = [...story.at(0, scope).keys()];
  const place = new Set(order);
  story.steps.forEach((step, at) => {
    const added = (step.delta?.added ?? []).filter((id) => !place.has(id) && story.version(id, at)?.scope === scope);
    if (!added.length || at === 0) return;
    const nodes = story.at(at, scope);
    const maker = makers(story, nodes);
    const index = new Map(order.map((id, position) => [id, position]));
    const behind = new Map();
    const anchors = new Map();
    for (const id of added) {
      let anchor = -1;
      for (const value of story.reads(nodes.get(id)).filter(Boolean)) {
        const made = maker.get(value.id);
        anchor = Math.max(anchor, index.get(made) ?? anchors.get(made) ?? -1);
      }
      anchors.set(id, anchor);
      if (!behind.has(anchor)) behind.set(anchor, []);
      behind.get(anchor).push(id);
      place.add(id);
    }
    const next = [...(behind.get(-1) ?? [])];
    order.forEach((id, position) => next.push(id, ...(behind.get(position) ?? [])));
    order = next;
  });
  return order;
}

// Every pair of nodes of which, at some step, one reads what the other makes; at how many steps, and from which on.
function unionEdges(story, scope, isHidden) {
  const found = new Map();
  story.steps.forEach((step, at) => {
    if (!step.delta || (at > 0 && ![...step.delta.added, ...step.delta.changed].some((id) => story.version(id, at)?.scope === scope))) return;
    const nodes = story.at(at, scope);
    const maker = makers(story, nodes);
    for (const [id, version] of nodes) {
      if (isHidden(id)) continue;
      story.eachRead(version, (value) => {
        const made = maker.get(value.id);
        if (made === undefined || isHidden(made)) return;
        const edge = found.get(made * PAIR + id);
        if (edge) edge[2] += 1;
        else found.set(made * PAIR + id, [made, id, 1, at]);
      });
    }
  });
  return [...found.values()];
}
