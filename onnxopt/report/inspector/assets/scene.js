// What of the graph is drawn: items and edges of all steps, and which of them there are at one.

const GROUPS = [
  [/Conv|Gemm|MatMul|Einsum/, 210], [/Quantize|Dequantize|Integer|QLinear/, 280], [/Norm/, 170], [/Relu|Sigmoid|Tanh|Gelu|Softmax|Clip|Elu|Hard|Swish|Mish|Erf/, 20],
  [/Pool|Reduce|Resize/, 130], [/Reshape|Transpose|Concat|Slice|Gather|Split|Squeeze|Expand|Pad|Flatten|Shape|Tile/, 45], [/If|Loop|Scan/, 330], [/LSTM|GRU|RNN|Attention/, 250],
];

function hueOf(op) {
  return GROUPS.find(([kind]) => kind.test(op))?.[1];
}

// Items with their sizes, and the edges among them, over all steps.
function sceneOf(story, plan, open, scope) {
  const { items, owner } = visibleItems(plan.blocks, open);
  const inputs = new Map();
  story.steps.forEach((step, at) => step.delta && story.interfaceOf(at, scope).inputs.forEach((index) => index >= 0 && story.weight(story.value(index)) === undefined && inputs.set(story.value(index).id, story.value(index).name)));
  const outputs = new Map();
  story.steps.forEach((step, at) => step.delta && story.interfaceOf(at, scope).outputs.forEach((index) => index >= 0 && outputs.set(story.value(index).id, story.value(index).name)));
  const all = [...items.map((item) => sized(story, plan, item))];
  for (const [id, label] of inputs) all.push({ id: `i${id}`, kind: "io", label, name: label, value: id, ...boxOf(plain(label, MOST_CHARS), "") });
  for (const [id, label] of outputs) all.push({ id: `o${id}`, kind: "io", label, name: label, value: id, ...boxOf(plain(label, MOST_CHARS), "") });
  const edges = new Map();
  for (const [from, to, weight] of plan.edges) {
    const [a, b] = [owner.get(from), owner.get(to)];
    if (a !== b) edges.set(`${a}>${b}`, [a, b, (edges.get(`${a}>${b}`)?.[2] ?? 0) + weight]);
  }
  story.steps.forEach((step, at) => {
    if (!step.delta) return;
    for (const [id, version] of story.at(at, scope)) {
      if (!owner.has(id)) continue;
      for (const value of story.reads(version)) if (value && inputs.has(value.id)) edges.set(`i${value.id}>${owner.get(id)}`, [`i${value.id}`, owner.get(id)]);
      for (const value of story.outputs(version)) if (value && outputs.has(value.id)) edges.set(`${owner.get(id)}>o${value.id}`, [owner.get(id), `o${value.id}`]);
    }
  });
  return { items: all, edges: [...edges.values()], owner, inputs, outputs };
}

function sized(story, plan, item) {
  if (item.closed) {
    const kinds = [...new Set(item.block.signature.split(/[ |]+/))].slice(0, 3).join(" ");
    const label = `${item.block.size} nodes${item.block.alike > 1 ? ` · 1 of ${item.block.alike} alike` : ""}`;
    return { ...item, kind: "block", label, detail: kinds, name: kinds, ...boxOf(label, kinds) };
  }
  const version = plan.first(item.node);
  const shapes = story.byId.get(item.node).filter(([, at]) => at >= 0).map(([, at]) => detailOf(story, story.versions[at]));
  const longest = shapes.reduce((one, other) => (other.length > one.length ? other : one), "");
  return { ...item, kind: "node", ...boxOf(plain(story.opName(version), MOST_CHARS), longest.slice(0, MOST_CHARS + 4)) };
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
  const inside = story.scopes.some((scope) => scope.node === item.node);
  return { label: story.opName(version) + (inside ? " ⊞" : ""), detail: detailOf(story, version), name: version.name, hue: hueOf(version.op) };
}

// By item: kept, added, removed, changed by the pass of a step; items that are in neither graph are left out.
function statesOf(story, view, step, scope) {
  const [was, now] = [story.at(story.before(step), scope), story.at(story.settled(step), scope)];
  const isPass = step > 0 && story.steps[step].delta;
  const found = new Map();
  const add = (id, state) => {
    const item = view.owner.get(id);
    if (item === undefined) return;
    found.set(item, !found.has(item) || found.get(item) === state ? state : "changed");
  };
  const before = isPass ? was : now;
  for (const [id, version] of before) add(id, !now.has(id) ? "removed" : now.get(id) === version ? "kept" : "changed");
  for (const id of now.keys()) if (!before.has(id)) add(id, "added");
  const io = (at) => { const { inputs, outputs } = story.interfaceOf(at, scope); return new Set([...inputs.map((index) => `i${story.value(index)?.id}`), ...outputs.map((index) => `o${story.value(index)?.id}`)]); };
  const [old, fresh] = [io(isPass ? story.before(step) : step), io(step)];
  for (const item of view.items) if (item.kind === "io" && (old.has(item.id) || fresh.has(item.id))) found.set(item.id, !fresh.has(item.id) ? "removed" : !old.has(item.id) ? "added" : "kept");
  return found;
}

// The edges of one graph, or of both: `from>to` and whether it is new, gone or as it was.
function edgesOf(story, view, step, scope, which) {
  const of = (at) => {
    const nodes = story.at(at, scope);
    const maker = makers(story, nodes);
    const found = new Set();
    for (const [id, version] of nodes) {
      const to = view.owner.get(id);
      if (to === undefined) continue;
      for (const value of story.reads(version)) {
        if (!value) continue;
        const made = maker.has(value.id) ? view.owner.get(maker.get(value.id)) : view.inputs.has(value.id) ? `i${value.id}` : undefined;
        if (made !== undefined && made !== to) found.add(`${made}>${to}`);
      }
      for (const value of story.outputs(version)) if (value && view.outputs.has(value.id)) found.add(`${to}>o${value.id}`);
    }
    return found;
  };
  const [was, now] = [of(story.before(step)), of(story.settled(step))];
  if (which === "before") return new Map([...was].map((edge) => [edge, now.has(edge) ? "" : "removed"]));
  if (which === "after" || step === 0 || !story.steps[step].delta) return new Map([...now].map((edge) => [edge, which === "both" || was.has(edge) || step === 0 ? "" : "added"]));
  const found = new Map([...was].map((edge) => [edge, now.has(edge) ? "" : "removed"]));
  for (const edge of now) if (!found.has(edge)) found.set(edge, "added");
  return found;
}
