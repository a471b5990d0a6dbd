// What is beside the graph: a node, the rewrites of a pass, its diff.

function nodePanel(story, id, step, go) {
  const at = story.settled(step);
  const [was, now] = [story.version(id, story.before(step)), story.version(id, at)];
  const node = now ?? was ?? story.firstVersion(id);
  const state = !was && now ? "added by this pass" : was && !now ? "removed by this pass" : was !== now ? "changed by this pass" : now ? "" : "not in this graph";
  const parts = [h("h2", {}, story.opName(node), " ", name(node.name ?? "", 60))];
  if (state) parts.push(h("p", { class: "state" }, state));
  if (node.by?.length) parts.push(h("h3", {}, "Made by"), h("ul", { class: "made-by" }, node.by.map((line) => h("li", {}, madeBy(line)))));
  if (node.from?.length) parts.push(h("h3", {}, "Of these nodes of the input model"), h("ul", { class: "made-of" }, node.from.map((line) => h("li", {}, name(line)))));
  const facts = [["operator", story.opName(node)]];
  if (node.macs) facts.push(["MACs", amount(node.macs)]);
  const weights = story.inputs(node).filter((value) => value?.weight !== undefined);
  if (weights.length) facts.push(["weights", bytes(weights.reduce((sum, value) => sum + story.weight(value).bytes, 0))]);
  facts.push(...(node.attributes ?? []).map(([key, text]) => [name(key), name(text, 200)]));
  for (const [key, text] of Object.entries(node.metadata ?? {})) facts.push([name(key), name(text, 200)]);
  if (node.doc) facts.push(["doc", name(node.doc, 300)]);
  parts.push(table(["", ""], facts, "facts"));
  parts.push(...valuesPart(story, "Inputs", story.inputs(node), at, node.scope, "maker", go));
  parts.push(...valuesPart(story, "Read by its subgraphs", (node.captured ?? []).map((index) => story.value(index)), at, node.scope, "maker", go));
  parts.push(...valuesPart(story, "Outputs", story.outputs(node), at, node.scope, "reader", go));
  parts.push(...weights.map((value) => weightPart(value, story.weight(value), encodingOf(story, value))));
  if (was && now && was !== now) parts.push(h("h3", {}, "Before this pass"), table(["", ""], differences(story, was, now), "facts"));
  return h("div", { class: "node-panel", "data-node": id }, parts);
}

// `pass: what`, the pass told apart.
function madeBy(line) {
  const [pass, ...what] = line.split(": ");
  return h("span", {}, h("b", {}, plain(pass, 60)), what.length ? `: ${plain(what.join(": "), 300)}` : "");
}

function valuesPart(story, heading, values, step, scope, end, go) {
  if (!values.length) return [];
  const nodes = story.at(step, scope);
  const maker = makers(story, nodes);
  const others = (value) => {
    if (end === "maker") return maker.has(value.id) ? [maker.get(value.id)] : [];
    return [...nodes].filter(([, version]) => story.reads(version).some((one) => one?.id === value.id)).map(([id]) => id);
  };
  const link = (id) => h("button", { class: "link", onclick: () => go(id) }, story.opName(nodes.get(id)));
  const rows = values.map((value, index) => {
    if (!value) return [String(index), "omitted", "", ""];
    return [String(index), name(value.name, 48), `${value.dtype ?? "?"}${shapeText(value)}`, h("span", {}, others(value).slice(0, 12).flatMap((id) => [link(id), " "]))];
  });
  return [h("h3", {}, heading), table(["", "name", "type", end === "maker" ? "made by" : "read by"], rows)];
}

function weightPart(value, weight, encoding) {
  const facts = [["type", `${weight.dtype}${shapeText(weight)}`], ["bytes", bytes(weight.bytes)], ["elements", amount(weight.elements)]];
  if (weight.values) facts.push(["values", weight.values.map(number).join(", ")]);
  if (weight.min !== undefined) facts.push(["range", `${number(weight.min)} to ${number(weight.max)}`], ["mean, spread", `${number(weight.mean)}, ${number(weight.std)}`]);
  if (weight.zeros !== undefined) facts.push(["zeros", `${(100 * weight.zeros).toFixed(1)} %${weight.sampled ? ", of a sample" : ""}`]);
  if (weight.not_finite) facts.push(["not finite", String(weight.not_finite)]);
  if (encoding) facts.push(["scale", encoding.scale], ["zero point", encoding.zero_point], ["granularity", encoding.granularity]);
  return h("section", { class: "weight" }, h("h3", {}, "Weight ", name(value.name, 48)), weight.histogram?.length > 1 ? histogram(weight) : null, table(["", ""], facts, "facts"));
}

function encodingOf(story, value) {
  return (story.tables.encodings ?? []).find((row) => row.stored === value.name || row.tensor === value.name);
}

function histogram({ histogram: counts, min, max }) {
  const most = Math.max(...counts);
  const bars = counts.map((count, at) => s("rect", { x: at, width: 0.9, y: 30 - (30 * count) / most, height: (30 * count) / most }));
  const label = `histogram of the elements from ${number(min)} to ${number(max)}`;
  return h("figure", { class: "histogram" }, s("svg", { viewBox: `0 0 ${counts.length} 30`, preserveAspectRatio: "none", role: "img", "aria-label": label }, bars), h("figcaption", {}, h("span", {}, number(min)), h("span", {}, number(max))));
}

function differences(story, was, now) {
  const rows = [];
  if (was.op !== now.op) rows.push(["operator", story.opName(was)]);
  if (was.name !== now.name) rows.push(["name", name(was.name)]);
  const attributes = (version) => new Map(version.attributes ?? []);
  const [old, fresh] = [attributes(was), attributes(now)];
  for (const key of new Set([...old.keys(), ...fresh.keys()])) if (old.get(key) !== fresh.get(key)) rows.push([name(key), name(old.get(key) ?? "none", 120)]);
  for (const end of ["inputs", "outputs"]) {
    const shown = (version) => story[end](version).map((value) => (value ? `${plain(value.name, 40)}: ${value.dtype ?? "?"}${shapeText(value)}` : "omitted")).join("; ");
    if (shown(was) !== shown(now)) rows.push([end, name(shown(was), 300)]);
  }
  if ((was.macs ?? 0) !== (now.macs ?? 0)) rows.push(["MACs", amount(was.macs ?? 0)]);
  return rows.length ? rows : [["values", "a weight, or metadata"]];
}

const MOST_LISTED = 500; // rewrites or refusals of one pass

function rewritesPanel(story, step, go) {
  const facts = story.steps[step];
  const { rewrites = [], refusals = [], delta, costs } = facts;
  const parts = [h("h2", {}, step === 0 ? "The input model" : name(facts.text ?? facts.name, 120))];
  const check = checkText(facts);
  if (check) parts.push(h("p", { class: check.kind }, facts.failed ? plain(facts.failed, 2000) : check.text));
  if (facts.promise) parts.push(h("p", { class: "dim" }, `promises: ${facts.promise}`));
  if (delta && step > 0) parts.push(h("p", {}, `${counted(delta.added.length, "node")} added, ${delta.removed.length} removed, ${delta.changed.length} changed`));
  if (rewrites.length) parts.push(h("h3", {}, counted(rewrites.length, "rewrite")), rewriteList(rewrites, go));
  if (refusals.length) parts.push(h("h3", {}, `${counted(refusals.length, "near match", "near matches")} left alone, and why`), rewriteList(refusals, go));
  if (!rewrites.length && !refusals.length && step > 0) parts.push(h("p", { class: "dim" }, "It told of no single rewrite."));
  if (costs) parts.push(...costsPart(costs));
  return h("div", {}, parts);
}

function rewriteList(rows, go) {
  const where = (one) => (one.node === undefined ? name(one.where, 80) : h("button", { class: "link", onclick: () => go(one.node) }, name(one.where, 80)));
  const more = rows.length > MOST_LISTED ? h("li", {}, `and ${rows.length - MOST_LISTED} more`) : null;
  return h("ul", {}, rows.slice(0, MOST_LISTED).map((one) => h("li", {}, h("span", {}, plain(one.what, 300)), " ", where(one))), more);
}

function costsPart(costs) {
  const figures = [...FIGURES, ["peak_activation_bytes", "peak activations", bytes]];
  const rows = figures.map(([key, label, show]) => [label, show(costs[key])]);
  const assumed = (costs.assumptions ?? []).map((line) => h("p", { class: "dim" }, plain(line, 300)));
  return [h("h3", {}, "Costs after it"), table(["", ""], rows, "facts"), ...assumed];
}

function diffPanel(story, step) {
  const lines = story.steps[step].diff ?? [];
  if (!lines.length) return h("p", { class: "dim" }, "Nothing differs in the text of the graph.");
  const kind = (line) => ({ "+": "plus", "-": "minus", "@": "hunk" })[line[0]] ?? "";
  return h("pre", { class: "diff" }, lines.map((line) => h("span", { class: kind(line) }, `${plain(line, 600)}\n`)));
}
