// What of the graph is drawn: items and edges of all steps together.

const GROUPS = [
  [/Conv|Gemm|MatMul|Einsum/, 210], [/Quantize|Dequantize|Integer|QLinear/, 280], [/Norm/, 170],
  [/Relu|Sigmoid|Tanh|Gelu|Softmax|Clip|Elu|Hard|Swish|Mish|Erf/, 20], [/Pool|Reduce|Resize/, 130],
  [/Reshape|Transpose|Concat|Slice|Gather|Split|Squeeze|Expand|Pad|Flatten|Shape|Tile/, 45],
  [/If|Loop|Scan/, 330], [/LSTM|GRU|RNN|Attention/, 250],
];

function hueOf(op) {
  return GROUPS.find(([kind]) => kind.test(op))?.[1];
}

// Blocks, order and edges of a scope: once, for all steps.
function planOf(story, scope, withConstants) {
  const hidden = new Set();
  if (!withConstants) passes(story).forEach((at) => story.constants(at, scope).forEach((id) => hidden.add(id)));
  const order = unionOrder(story, scope).filter((id) => !hidden.has(id));
  const edges = unionEdges(story, scope, (id) => hidden.has(id));
  // An edge that a pass made past a node that it removed would cross every cut: the input model tells the blocks.
  const isOld = (id) => story.at(0, scope).has(id);
  const first = edges.filter(([from, to, , since]) => since === 0 || !isOld(from) || !isOld(to));
  const blocks = blockTree(order, first, (id) => story.firstVersion(id).op, (id) => story.firstVersion(id).name);
  return { scope, hidden, order, edges, blocks };
}

// The steps that have a graph of their own.
function passes(story) {
  return story.steps.map((step, at) => at).filter((at) => story.steps[at].delta);
}

// Items with their sizes, and the edges among them, over all steps.
function sceneOf(story, plan, open) {
  const { items, owner } = visibleItems(plan.blocks, open);
  const [inputs, outputs] = ["inputs", "outputs"].map((end) => interfaceNames(story, plan.scope, end));
  const all = items.map((item) => sized(story, item));
  for (const [letter, names] of [["i", inputs], ["o", outputs]])
    for (const [id, label] of names) all.push({ id: `${letter}${id}`, kind: "io", label, name: label, frames: [], ...boxOf(plain(label, MOST_CHARS), "") });
  const edges = new Map();
  const join = (a, b, weight) => edges.set(`${a}>${b}`, [a, b, (edges.get(`${a}>${b}`)?.[2] ?? 0) + weight]);
  for (const [from, to, weight] of plan.edges) if (owner.get(from) !== owner.get(to)) join(owner.get(from), owner.get(to), weight);
  for (const [from, to] of interfaceEdges(story, plan.scope, { owner, inputs, outputs })) join(from, to, 1);
  return { items: all, edges: [...edges.values()], owner, inputs, outputs };
}

// Names of the inputs or outputs that a scope ever has, by value; weights that are inputs too are left out.
function interfaceNames(story, scope, end) {
  const found = new Map();
  for (const at of passes(story))
    for (const index of story.interfaceOf(at, scope)[end]) {
      const value = story.value(index);
      if (value && (end === "outputs" || value.weight === undefined)) found.set(value.id, value.name);
    }
  return found;
}

// Every version of a node is looked at once, however many steps it lives.
function interfaceEdges(story, scope, { owner, inputs, outputs }) {
  const found = [];
  for (const [id, item] of owner)
    for (const [, at] of story.byId.get(id)) {
      const version = story.versions[at];
      if (!version || version.scope !== scope) continue;
      for (const value of story.reads(version)) if (value && inputs.has(value.id)) found.push([`i${value.id}`, item]);
      for (const value of story.outputs(version)) if (value && outputs.has(value.id)) found.push([item, `o${value.id}`]);
    }
  return found;
}

function sized(story, item) {
  if (item.closed) return { ...item, ...closedText(story, item.block) };
  const version = story.firstVersion(item.node);
  const shapes = story.byId.get(item.node).filter(([, at]) => at >= 0).map(([, at]) => detailOf(story, story.versions[at]));
  const longest = shapes.reduce((one, other) => (other.length > one.length ? other : one), "");
  return { ...item, kind: "node", ...boxOf(plain(story.opName(version), MOST_CHARS), longest.slice(0, MOST_CHARS + 4)) };
}

// What a closed block says of itself: what it is called, or of what it is; and whether there are others like it.
function closedText(story, block) {
  const called = blockName(block, (id) => story.firstVersion(id).name);
  const kinds = [...new Set(block.signature.split(/[ |]+/))].slice(0, 3).join(" ");
  const label = plain(`${block.letter ? `${block.letter} · ` : ""}${called || `${block.size} nodes`}`, MOST_CHARS);
  const detail = plain(called ? `${block.size} nodes: ${kinds}` : kinds, MOST_CHARS + 4);
  return { kind: "block", label, detail, name: likeText(block), letter: block.letter, opens: "open this block", ...boxOf(label, detail) };
}

function likeText(block) {
  return `${block.size} nodes${block.letter ? `, ${block.turn} of ${block.alike} alike (${block.letter})` : ""}`;
}

function detailOf(story, version) {
  const output = story.outputs(version).find(Boolean);
  return output?.shape ? shapeText(output) : "";
}

// What an item says at a step.
function labelOf(story, item, step) {
  if (item.node === undefined) return {};
  const versions = story.byId.get(item.node).filter(([, at]) => at >= 0);
  const version = story.version(item.node, step) ?? story.versions[(versions.filter(([since]) => since <= step).at(-1) ?? versions[0])[1]];
  const opens = story.inside(item.node, version).length ? "open what is inside" : null;
  return { label: story.opName(version), detail: detailOf(story, version), name: version.name, hue: hueOf(version.op), opens };
}
