// Positions, by dagre (layered, after Sugiyama). It runs in a worker, so that the page stays awake.

const READERS = 8; // a source with more readers than this is joined to its first ones only
const SEARCHED = 400; // items looked at to see that a skip edge has another way beside it

function layoutItems({ items, edges }) {
  const { kept, aside } = setAside(items, edges);
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ ranksep: 26, nodesep: 18, edgesep: 8, marginx: 16, marginy: 16, ranker: items.length > 250 ? "longest-path" : "network-simplex" });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const { id, width, height } of items) graph.setNode(id, { width, height });
  // What holds at many steps is drawn straight.
  for (const [from, to, weight] of kept) graph.setEdge(from, to, { weight: weight ?? 1 });
  dagre.layout(graph);
  return {
    items: items.map(({ id, width, height }) => ({ id, width, height, x: graph.node(id).x, y: graph.node(id).y })),
    edges: [...graph.edges().map((edge) => ({ from: edge.v, to: edge.w, points: graph.edge(edge).points })), ...aside],
  };
}

// Edges that the layout does better without. A skip edge bends the chain that it skips, so it is routed beside it
// afterwards. An early value that everybody reads pulls everything apart: it is `faint`, drawn only where asked for.
function setAside(items, edges) {
  const ranks = longestPaths(items, edges);
  const out = grouping(edges, 0);
  const into = grouping(edges, 1);
  const span = ([from, to]) => ranks.get(to) - ranks.get(from);
  const isStep = (edge) => span(edge) === 1;
  const [kept, aside] = [[], []];
  for (const edge of edges) {
    const [from, to] = edge;
    const others = into.get(to).some(isStep);
    const isFaint = others && span(edge) > 1 && nearer(out.get(from), edge, span) >= READERS;
    const isSkip = others && span(edge) > 1 && out.get(from).some(isStep) && leadsTo(from, to, out, ranks);
    if (isFaint || isSkip) aside.push({ from, to, faint: isFaint });
    else kept.push(edge);
  }
  return { kept, aside };
}

function grouping(edges, end) {
  const found = new Map();
  for (const edge of edges) {
    if (!found.has(edge[end])) found.set(edge[end], []);
    found.get(edge[end]).push(edge);
  }
  return found;
}

// How many other readers of a source are nearer to it; past the limit the count does not matter.
function nearer(readers, edge, span) {
  if (readers.length <= READERS) return 0;
  const own = span(edge);
  return readers.filter((other) => span(other) < own).length;
}

// Whether there is a way of more than one edge.
function leadsTo(from, to, out, ranks) {
  const pending = [from];
  const seen = new Set(pending);
  while (pending.length && seen.size < SEARCHED) {
    const at = pending.pop();
    for (const [, next] of out.get(at) ?? []) {
      if (next === to && at !== from) return true;
      if (seen.has(next) || ranks.get(next) >= ranks.get(to)) continue;
      seen.add(next);
      pending.push(next);
    }
  }
  return false;
}

// The length of the longest way to each item; an edge back, which only steps taken together can make, ends its way.
function longestPaths(items, edges) {
  const waiting = new Map(items.map(({ id }) => [id, 0]));
  for (const [, to] of edges) waiting.set(to, waiting.get(to) + 1);
  const out = grouping(edges, 0);
  const ranks = new Map(items.map(({ id }) => [id, 0]));
  const ready = items.filter(({ id }) => waiting.get(id) === 0).map(({ id }) => id);
  for (let next = 0; next < ready.length; next += 1) {
    for (const [from, to] of out.get(ready[next]) ?? []) {
      ranks.set(to, Math.max(ranks.get(to), ranks.get(from) + 1));
      waiting.set(to, waiting.get(to) - 1);
      if (waiting.get(to) === 0) ready.push(to);
    }
  }
  return ranks;
}

if (typeof document === "undefined") self.onmessage = ({ data }) => self.postMessage({ key: data.key, found: layoutItems(data) });

class Layouts {
  constructor() {
    this.waiting = new Map();
    this.known = new Map();
    try {
      const source = document.getElementById("layout-source").textContent;
      this.worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
      this.worker.onmessage = ({ data }) => this.done(data.key, data.found);
      this.worker.onerror = () => this.withoutWorker();
    } catch {
      this.worker = null;
    }
  }

  done(key, found) {
    this.waiting.get(key)?.done(found);
    this.waiting.delete(key);
  }

  // Where no worker can be had, here.
  withoutWorker() {
    this.worker = null;
    for (const [key, { asked }] of this.waiting) this.done(key, layoutItems(asked));
  }

  // The positions of what has this key: asked for once.
  of(key, items, edges) {
    if (!this.known.has(key)) this.known.set(key, this.ask({ key, items, edges }));
    return this.known.get(key);
  }

  ask(asked) {
    if (!this.worker) return Promise.resolve().then(() => layoutItems(asked));
    return new Promise((done) => {
      this.waiting.set(asked.key, { asked, done });
      this.worker.postMessage(asked);
    });
  }
}
