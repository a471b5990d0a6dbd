// What there is of a scene at one step, and what the pass of that step did to it.

// By item: kept, added, removed, changed; items that are in neither graph are left out.
function statesOf(story, view, step, scope) {
  const now = story.at(story.settled(step), scope);
  const before = isPass(story, step) ? story.at(story.before(step), scope) : now;
  const found = new Map();
  const add = (id, state) => {
    const item = view.owner.get(id);
    if (item !== undefined) found.set(item, !found.has(item) || found.get(item) === state ? state : "changed");
  };
  for (const [id, version] of before) add(id, !now.has(id) ? "removed" : now.get(id) === version ? "kept" : "changed");
  for (const id of now.keys()) if (!before.has(id)) add(id, "added");
  addInterface(story, view, step, scope, found);
  return found;
}

// Whether a step changed the graph, so that there is a before.
function isPass(story, step) {
  return step > 0 && Boolean(story.steps[step].delta);
}

function addInterface(story, view, step, scope, found) {
  const items = (at) => {
    const { inputs, outputs } = story.interfaceOf(at, scope);
    return new Set([...inputs.map((index) => `i${story.value(index)?.id}`), ...outputs.map((index) => `o${story.value(index)?.id}`)]);
  };
  const [was, now] = [items(isPass(story, step) ? story.before(step) : step), items(step)];
  for (const { id, kind } of view.items) {
    if (kind !== "io" || !(was.has(id) || now.has(id))) continue;
    found.set(id, !now.has(id) ? "removed" : was.has(id) ? "kept" : "added");
  }
}

// The edges of one graph, or of both: `from>to` and whether it is new, gone or as it was.
function edgesOf(story, view, step, scope, which) {
  const now = edgesAt(story, view, story.settled(step), scope);
  if (!isPass(story, step)) return new Map([...now].map((edge) => [edge, ""]));
  const was = edgesAt(story, view, story.before(step), scope);
  const gone = (edge) => (now.has(edge) ? "" : "removed");
  const fresh = (edge) => (was.has(edge) ? "" : "added");
  const [old, young] = [[...was].map((edge) => [edge, gone(edge)]), [...now].map((edge) => [edge, fresh(edge)])];
  return new Map({ before: old, after: young, both: [...old, ...young] }[which]);
}

function edgesAt(story, view, at, scope) {
  const nodes = story.at(at, scope);
  const maker = makers(story, nodes);
  const makerItem = (value) => (maker.has(value.id) ? view.owner.get(maker.get(value.id)) : view.inputs.has(value.id) ? `i${value.id}` : undefined);
  const found = new Set();
  const add = (from, to) => found.add(`${from}>${to}`);
  for (const [id, version] of nodes) {
    const to = view.owner.get(id);
    if (to === undefined) continue;
    story.eachRead(version, (value) => {
      const from = makerItem(value);
      if (from !== undefined && from !== to) add(from, to);
    });
    for (const value of story.outputs(version)) if (value && view.outputs.has(value.id)) add(to, `o${value.id}`);
  }
  return found;
}
