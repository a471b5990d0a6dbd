// Large graphs by blocks: intervals of one order that holds for all steps, cut where few values cross.

const FEW = 200; // so many nodes are drawn one by one from the start
const TOP = 90; // so many blocks at most at the top
const WINDOW = 40; // a cut is the narrowest place of so many nodes to either side

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

// Every pair of nodes of which, at some step, one reads what the other makes; and at how many steps.
function unionEdges(story, scope, isHidden) {
  const found = new Map();
  story.steps.forEach((step, at) => {
    if (!step.delta || (at > 0 && ![...step.delta.added, ...step.delta.changed].some((id) => story.version(id, at)?.scope === scope))) return;
    const nodes = story.at(at, scope);
    const maker = makers(story, nodes);
    for (const [id, version] of nodes) {
      if (isHidden(id)) continue;
      for (const value of story.reads(version)) {
        const made = value && maker.get(value.id);
        if (made !== undefined && !isHidden(made)) {
          const key = `${made}>${id}`;
          found.set(key, [made, id, (found.get(key)?.[2] ?? 0) + 1]);
        }
      }
    }
  });
  return [...found.values()];
}

// The tree of blocks over the visible nodes: {id, nodes | children}.
function blockTree(order, edges, opOf) {
  const index = new Map(order.map((id, position) => [id, position]));
  const last = new Int32Array(order.length).fill(-1);
  for (const [from, to] of edges) {
    const [a, b] = [index.get(from), index.get(to)];
    last[Math.min(a, b)] = Math.max(last[Math.min(a, b)], a, b);
  }
  const crossing = new Int32Array(order.length + 1);
  last.forEach((end, start) => {
    if (end < 0) return;
    crossing[start] += 1;
    crossing[end] -= 1;
  });
  for (let at = 1; at <= order.length; at += 1) crossing[at] += crossing[at - 1];
  let blocks = [];
  let current = [];
  order.forEach((id, at) => {
    current.push(id);
    if (isNarrow(crossing, at) || current.length >= 2 * WINDOW) {
      blocks.push(leafBlock(current, opOf));
      current = [];
    }
  });
  if (current.length) blocks.push(leafBlock(current, opOf));
  blocks = joinSingles(blocks, opOf);
  while (blocks.length > TOP) {
    const size = Math.max(2, Math.ceil(blocks.length / TOP));
    const groups = [];
    for (let at = 0; at < blocks.length; at += size) groups.push(groupBlock(blocks.slice(at, at + size)));
    blocks = groups;
  }
  countAlike(blocks);
  return blocks;
}

function isNarrow(crossing, at) {
  const end = Math.min(crossing.length - 2, at + WINDOW);
  for (let other = Math.max(0, at - WINDOW); other <= end; other += 1) if (crossing[other] < crossing[at]) return false;
  return true;
}

function leafBlock(ids, opOf) {
  return { id: `b${ids[0]}`, nodes: ids, children: null, size: ids.length, signature: ids.map(opOf).join(" ") };
}

// Runs of single nodes become one block: Conv, Relu, Conv, Relu.
function joinSingles(blocks, opOf) {
  const found = [];
  let run = [];
  const close = () => {
    for (let at = 0; at < run.length; at += 12) found.push(leafBlock(run.slice(at, at + 12), opOf));
    run = [];
  };
  for (const block of blocks) {
    if (block.size <= 2) run.push(...block.nodes);
    else {
      close();
      found.push(block);
    }
  }
  close();
  return found;
}

function groupBlock(children) {
  if (children.length === 1) return children[0];
  return {
    id: `g${children[0].id}`,
    nodes: children.flatMap((child) => child.nodes),
    children,
    size: children.reduce((sum, child) => sum + child.size, 0),
    signature: children.map((child) => child.signature).join(" | "),
  };
}

function countAlike(blocks) {
  const all = [];
  const walk = (block) => {
    all.push(block);
    (block.children ?? []).forEach(walk);
  };
  blocks.forEach(walk);
  const counts = new Map();
  for (const block of all) counts.set(block.signature, (counts.get(block.signature) ?? 0) + 1);
  for (const block of all) block.alike = counts.get(block.signature);
}

// What is drawn: nodes of open blocks, closed blocks whole. Map from node to the item that stands for it.
function visibleItems(blocks, open) {
  const items = [];
  const owner = new Map();
  const walk = (block) => {
    if (block.size === 1 || open.has(block.id)) {
      if (block.children) block.children.forEach(walk);
      else
        block.nodes.forEach((id) => {
          items.push({ id: `n${id}`, node: id, block });
          owner.set(id, `n${id}`);
        });
    } else {
      items.push({ id: block.id, block, closed: true });
      block.nodes.forEach((id) => owner.set(id, block.id));
    }
  };
  blocks.forEach(walk);
  return { items, owner };
}
