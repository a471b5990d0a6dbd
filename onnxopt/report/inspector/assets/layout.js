// Positions, by dagre (layered, after Sugiyama). It runs in a worker, so that the page stays awake.

function layoutItems({ items, edges }) {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ ranksep: 26, nodesep: 18, edgesep: 8, marginx: 16, marginy: 16, ranker: items.length > 250 ? "longest-path" : "network-simplex" });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const { id, width, height } of items) graph.setNode(id, { width, height });
  // What holds at many steps is drawn straight.
  for (const [from, to, weight] of edges) graph.setEdge(from, to, { weight: weight ?? 1 });
  dagre.layout(graph);
  return {
    items: items.map(({ id, width, height }) => ({ id, width, height, x: graph.node(id).x, y: graph.node(id).y })),
    edges: graph.edges().map((edge) => ({ from: edge.v, to: edge.w, points: graph.edge(edge).points })),
  };
}

if (typeof document === "undefined") self.onmessage = ({ data }) => self.postMessage({ key: data.key, found: layoutItems(data) });

class Layouts {
  constructor() {
    this.waiting = new Map();
    this.known = new Map();
    try {
      const source = document.getElementById("layout-source").textContent;
      this.worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
      this.worker.onmessage = ({ data }) => this.waiting.get(data.key)?.(data.found);
      this.worker.onerror = () => this.withoutWorker();
    } catch {
      this.worker = null;
    }
  }

  // Where no worker can be had, here.
  withoutWorker() {
    this.worker = null;
    for (const [key, done] of this.waiting) done(layoutItems(this.asked.get(key)));
  }

  async of(key, items, edges) {
    if (!this.known.has(key)) {
      const asked = { key, items, edges };
      const found = this.worker
        ? new Promise((done) => {
            (this.asked ??= new Map()).set(key, asked);
            this.waiting.set(key, done);
            this.worker.postMessage(asked);
          })
        : Promise.resolve().then(() => layoutItems(asked));
      this.known.set(key, found);
    }
    const found = await this.known.get(key);
    this.waiting.delete(key);
    return found;
  }
}
