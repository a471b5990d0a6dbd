// Large graphs by blocks: intervals of one order that holds for all steps, cut where few values cross.

const FEW = 250; // so many nodes are drawn one by one from the start
const MANY = 1500; // and so many at most when all blocks are opened
const TOP = 90; // so many blocks at most at the top
const FEWEST = 3; // nodes of a named part, so that stem.0, stem.1 and stem.2 are one
const MOST_IN_RUN = 12; // nodes of a chain that is cut anywhere
const WINDOW = 40; // a cut is the narrowest place of so many nodes to either side

// The tree of blocks over the visible nodes: {id, nodes, children, size, signature}, at most TOP at the top.
function blockTree(order, edges, opOf, nameOf) {
  let blocks = joinSingles(cutAtNarrows(order, crossings(order, edges), opOf), opOf, nameOf);
  while (blocks.length > TOP) {
    const size = Math.max(2, Math.ceil(blocks.length / TOP));
    const groups = [];
    for (let at = 0; at < blocks.length; at += size) groups.push(groupBlock(blocks.slice(at, at + size)));
    blocks = groups;
  }
  countAlike(blocks);
  return blocks;
}

// Behind each place of the order, how many sources are still to be read: each counts until its last reader.
function crossings(order, edges) {
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
  return crossing;
}

function cutAtNarrows(order, crossing, opOf) {
  const blocks = [];
  let current = [];
  order.forEach((id, at) => {
    current.push(id);
    const isEnd = at === order.length - 1 || current.length >= 2 * WINDOW;
    if (!isEnd && !isNarrow(crossing, at)) return;
    blocks.push(leafBlock(current, opOf));
    current = [];
  });
  return blocks;
}

function isNarrow(crossing, at) {
  const end = Math.min(crossing.length - 3, at + WINDOW); // behind the last node nothing ever crosses
  for (let other = Math.max(0, at - WINDOW); other <= end; other += 1) if (crossing[other] < crossing[at]) return false;
  return true;
}

function leafBlock(ids, opOf) {
  return { id: `b${ids[0]}`, nodes: ids, children: null, size: ids.length, signature: ids.map(opOf).join(" ") };
}

// Runs of single nodes become one block: Conv, Relu, Conv, Relu. Where names tell of parts, a part is one block.
function joinSingles(blocks, opOf, nameOf) {
  const found = [];
  let run = [];
  const close = () => {
    if (run.length) found.push(leafBlock(run, opOf));
    run = [];
  };
  for (const block of blocks) {
    if (block.size > 2) {
      close();
      found.push(block);
      continue;
    }
    const isNewPart = run.length >= FEWEST && partOf(nameOf(run.at(-1))) !== partOf(nameOf(block.nodes[0]));
    if (isNewPart || run.length >= MOST_IN_RUN) close();
    run.push(...block.nodes);
  }
  close();
  return found;
}

// The numbered part of a model that a node is named after: /blocks/blocks.3 of /blocks/blocks.3/body/Conv.
function partOf(text) {
  return text?.match(/^.*?[/.]\D*\d+(?=[/.])/)?.[0] ?? "";
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

// Blocks of the same operators in the same order share a letter, by which a repeated part of the model is recognised.
function countAlike(blocks) {
  const all = allBlocks(blocks);
  const alike = new Map();
  for (const block of all) alike.set(block.signature, [...(alike.get(block.signature) ?? []), block]);
  let letters = 0;
  for (const same of alike.values()) {
    const letter = same.length > 1 && same[0].size > 1 ? letterOf(letters++) : "";
    same.forEach((block, at) => Object.assign(block, { letter, turn: at + 1, alike: same.length }));
  }
}

function letterOf(number) {
  return number < 26 ? String.fromCharCode(65 + number) : letterOf(Math.floor(number / 26) - 1) + letterOf(number % 26);
}

function allBlocks(blocks) {
  return blocks.flatMap((block) => [block, ...allBlocks(block.children ?? [])]);
}

// From the outermost block to the one that holds a node itself.
function pathTo(blocks, id) {
  for (const block of blocks) if (block.nodes.includes(id)) return [block, ...pathTo(block.children ?? [], id)];
  return [];
}

// What a block is called: the part of their names that its nodes share, where they have one.
function blockName(block, nameOf) {
  const names = block.nodes.map(nameOf).filter(Boolean);
  if (names.length < 2) return "";
  const parts = names.map((text) => text.split(text.includes("/") ? "/" : ".").slice(0, -1));
  const end = parts[0].findIndex((part, at) => parts.some((other) => other[at] !== part));
  return parts[0].slice(0, end < 0 ? undefined : end).filter(Boolean).slice(-2).join("/");
}

// What is drawn: nodes of open blocks, closed blocks whole. Map from node to the item that stands for it.
function visibleItems(blocks, open) {
  const items = [];
  const owner = new Map();
  const own = (id, item) => owner.set(id, item);
  const walk = (block, frames) => {
    if (block.size > 1 && !open.has(block.id)) {
      items.push({ id: block.id, block, closed: true, frames });
      block.nodes.forEach((id) => own(id, block.id));
      return;
    }
    const around = block.size > 1 ? [...frames, block] : frames;
    if (block.children) block.children.forEach((child) => walk(child, around));
    else
      block.nodes.forEach((id) => {
        items.push({ id: `n${id}`, node: id, frames: around });
        own(id, `n${id}`);
      });
  };
  blocks.forEach((block) => walk(block, []));
  return { items, owner };
}
