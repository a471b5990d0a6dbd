// From node to node along the values.

// Selects the first node that makes what the selected one reads, or that reads what it makes.
function walk(app, isDown) {
  const { story } = app;
  const { selected, step, scope } = app.state;
  if (selected === null) return pickFirst(app);
  const settled = story.settled(step);
  const nodes = story.at(story.version(selected, settled) ? settled : story.before(step), scope);
  const version = nodes.get(selected);
  if (!version) return undefined;
  const values = new Set((isDown ? story.outputs(version) : story.reads(version)).filter(Boolean).map((value) => value.id));
  const { hidden } = app.plan();
  const ends = (other) => (isDown ? story.reads(other) : story.outputs(other));
  const found = [...nodes].find(([id, other]) => !hidden.has(id) && ends(other).some((value) => value && values.has(value.id)));
  return found && app.pick(found[0], true);
}

// The first node that is seen.
function pickFirst(app) {
  const nodes = app.view.items.filter((item) => item.node !== undefined);
  const first = nodes.find((item) => app.main().sees(item.id)) ?? nodes[0];
  return first && app.pick(first.node);
}
