// The page: what is looked at, and what follows when that changes.

const MODES = [["changes", "changes"], ["before", "before"], ["after", "after"], ["side", "side by side"]];
const PANELS = [["pass", "Pass"], ["node", "Node"], ["diff", "Diff"], ["tables", "Tables"]];

class App {
  constructor(story, root) {
    this.story = story;
    this.state = { step: 0, mode: "changes", scope: 0, selected: null, panel: "pass", constants: false, query: "" };
    this.open = new Map(); // open blocks, by scope
    this.plans = new Map();
    this.layouts = new Layouts();
    this.panes = ["before", "after"].map((label) => new Drawing(label, (drawing) => this.moved(drawing)));
    this.minimap = new Minimap((x, y) => this.main().place(this.main().svg.clientWidth / 2 - x * this.main().scale, this.main().svg.clientHeight / 2 - y * this.main().scale, this.main().scale));
    this.timeline = new Timeline(story, (step) => this.go(step));
    this.build(root);
    document.addEventListener("keydown", (event) => this.key(event));
    window.addEventListener("resize", () => this.moved(this.main()));
    this.go(0);
  }

  build(root) {
    this.search = h("input", { type: "search", placeholder: "name, operator, shape", "aria-label": "search nodes", oninput: (event) => this.find(event.target.value), onkeydown: (event) => event.key === "Enter" && this.nextMatch() });
    this.found = h("output", { class: "found", "aria-live": "polite" });
    this.modes = MODES.map(([mode, label]) => h("button", { "data-mode": mode, onclick: () => this.set({ mode }) }, label));
    this.tabs = PANELS.map(([panel, label]) => h("button", { role: "tab", "data-panel": panel, onclick: () => this.set({ panel }) }, label));
    this.crumbs = h("nav", { class: "crumbs", "aria-label": "scope" });
    this.panel = h("section", { class: "panel-body", role: "tabpanel", tabindex: 0 });
    const tool = (label, title, act) => h("button", { title, "aria-label": title, onclick: act }, label);
    const constants = h("label", { class: "toggle" }, h("input", { type: "checkbox", onchange: (event) => this.set({ constants: event.target.checked }) }), " constants");
    const tools = h("div", { class: "tools" }, h("span", { class: "group", role: "group", "aria-label": "view" }, this.modes),
      h("span", { class: "group" }, tool("−", "zoom out", () => this.main().zoom(0.8)), tool("+", "zoom in", () => this.main().zoom(1.25)), tool("top", "fit the width", () => this.main().fit()), tool("whole", "fit the whole graph", () => this.main().whole())),
      h("span", { class: "group" }, tool("collapse", "collapse all blocks", () => this.setOpen([])), tool("expand", "expand all blocks", () => this.expandAll())), constants);
    const head = h("header", {}, h("h1", {}, name(this.story.title, 60)), h("p", { class: "pipeline" }, name(this.story.pipeline, 200)), h("span", { class: "searching" }, this.search, this.found), tool("◐", "light or dark", () => this.theme()));
    this.graph = h("div", { class: "panes" }, this.panes.map((pane) => pane.element), this.minimap.canvas);
    const legend = h("p", { class: "legend" }, ...["added", "changed", "removed"].map((state) => h("span", { class: state }, state)), "← → pass · ↑ ↓ node · / search · double click: open");
    const middle = h("main", {}, tools, this.crumbs, this.graph, legend);
    const side = h("aside", { class: "panel", "aria-label": "details" }, h("div", { class: "tabs", role: "tablist" }, this.tabs), this.panel);
    const failed = this.story.failed ? h("p", { class: "banner bad", role: "alert" }, plain(this.story.failed, 600)) : null;
    root.replaceChildren(head, ...(failed ? [failed] : []), h("div", { class: "columns" }, this.timeline.element, middle, side));
  }

  main() {
    return this.panes[this.state.mode === "before" ? 0 : 1];
  }

  go(step) {
    this.set({ step });
    this.timeline.mark(step);
  }

  set(next) {
    const was = { ...this.state };
    Object.assign(this.state, next);
    const graphKeys = ["step", "mode", "scope", "constants", "selected", "query"];
    if (graphKeys.some((key) => was[key] !== this.state[key]) || !this.drawn) this.draw(was);
    this.showPanel();
    for (const button of this.modes) button.setAttribute("aria-pressed", String(button.dataset.mode === this.state.mode));
    for (const tab of this.tabs) tab.setAttribute("aria-selected", String(tab.dataset.panel === this.state.panel));
  }

  showPanel() {
    const { panel, selected, step } = this.state;
    const made = {
      pass: () => rewritesPanel(this.story, step, (id) => this.pick(id, true)),
      node: () => (selected === null ? h("p", { class: "dim" }, "Click a node, or search for one.") : nodePanel(this.story, selected, step, (id) => this.pick(id, true))),
      diff: () => diffPanel(this.story, step),
      tables: () => tablesPanel(this.story, step),
    }[panel]();
    this.panel.replaceChildren(made);
  }

  // Blocks, order and edges of a scope: once, for all steps.
  plan(scope) {
    const key = `${scope}/${this.state.constants}`;
    if (!this.plans.has(key)) {
      const { story } = this;
      const hidden = new Set();
      if (!this.state.constants) story.steps.forEach((step, at) => step.delta && story.constants(at, scope).forEach((id) => hidden.add(id)));
      const order = unionOrder(story, scope).filter((id) => !hidden.has(id));
      const first = (id) => story.versions[story.byId.get(id).find(([, version]) => version >= 0)[1]];
      const edges = unionEdges(story, scope, (id) => hidden.has(id));
      const blocks = blockTree(order, edges, (id) => first(id).op);
      if (!this.open.has(scope)) this.open.set(scope, new Set(order.length <= FEW ? allBlocks(blocks) : []));
      this.plans.set(key, { hidden, order, edges, blocks, first });
    }
    return this.plans.get(key);
  }

  setOpen(blocks) {
    this.open.set(this.state.scope, new Set(blocks));
    this.draw(this.state);
  }

  expandAll() {
    const { blocks, order } = this.plan(this.state.scope);
    if (order.length > 1500) {
      this.found.textContent = `${order.length} nodes are too many to draw at once: open blocks by double click`;
      return;
    }
    this.setOpen(allBlocks(blocks));
  }

  async draw(was) {
    this.drawn = true;
    const { scope, constants, step } = this.state;
    const plan = this.plan(scope);
    const view = sceneOf(this.story, plan, this.open.get(scope), scope);
    const key = `${scope}/${constants}/${[...this.open.get(scope)].join()}`;
    this.graph.classList.toggle("busy", !this.layouts.known.has(key));
    const found = await this.layouts.of(key, view.items.map(({ id, width, height }) => ({ id, width, height })), view.edges);
    if (key !== `${this.state.scope}/${this.state.constants}/${[...this.open.get(this.state.scope)].join()}` || step !== this.state.step) return;
    this.graph.classList.remove("busy");
    this.show(found, view, was, key);
  }

  show(found, view, was, key) {
    const { step, mode, scope, selected, query } = this.state;
    const states = statesOf(this.story, view, step, scope);
    const wanted = { changes: [null, ["kept", "added", "changed", "removed"]], before: [["kept", "changed", "removed"], null], after: [null, ["kept", "added", "changed"]], side: [["kept", "changed", "removed"], ["kept", "added", "changed"]] }[mode];
    const owner = selected === null ? null : view.owner.get(selected);
    const matches = query ? new Set(this.matching(query).map((id) => view.owner.get(id))) : null;
    const anchor = owner ?? [...states].find(([, state]) => state !== "kept")?.[0];
    const fresh = this.lastKey !== key;
    wanted.forEach((kinds, at) => {
      const pane = this.panes[at];
      pane.element.hidden = !kinds;
      if (!kinds) return;
      const was = anchor && pane.screenY(anchor);
      const items = view.items.filter((item) => kinds.includes(states.get(item.id))).map((item) => ({ ...item, ...labelOf(this.story, item, at === 0 ? this.story.before(step) : this.story.settled(step)), state: states.get(item.id) === "kept" ? "" : states.get(item.id) }));
      const edges = edgesOf(this.story, view, step, scope, mode === "changes" ? "both" : at === 0 ? "before" : "after");
      pane.show(found, items, edges, { selected: owner, matches, onPick: (item) => this.picked(item), onOpen: (item) => this.opened(item) });
      pane.caption.textContent = mode === "changes" ? "" : ["before", "after"][at];
      if (fresh || pane.scale === 1 && pane.x === 0) requestAnimationFrame(() => this.start(pane));
      else if (was !== undefined && was !== null && pane.screenY(anchor) !== undefined) pane.place(pane.x, pane.y + was - pane.screenY(anchor), pane.scale);
    });
    this.lastKey = key;
    this.shownStates = states;
    this.showCrumbs();
    requestAnimationFrame(() => this.moved(this.main()));
    document.body.dataset.drawn = `${step}/${mode}/${view.items.length}`;
  }

  start(pane) {
    const owner = this.state.selected === null ? null : this.view?.owner.get(this.state.selected);
    pane.fit();
    if (owner) pane.centre(owner);
  }

  moved(drawing) {
    if (this.state.mode === "side") for (const pane of this.panes) if (pane !== drawing) pane.place(drawing.x, drawing.y, drawing.scale, true);
    this.minimap.show(this.main(), this.shownStates ?? new Map());
  }

  picked(item) {
    if (item.closed) return this.opened(item);
    if (item.node !== undefined) this.pick(item.node);
  }

  // Select a node; where it is not drawn, open what hides it.
  pick(id, show = false) {
    const version = this.story.version(id, this.story.settled(this.state.step)) ?? this.story.version(id, this.story.before(this.state.step)) ?? this.story.versions[this.story.byId.get(id).find(([, one]) => one >= 0)[1]];
    if (show) {
      if (version.scope !== this.state.scope) this.state.scope = version.scope;
      if (this.plan(version.scope).hidden.has(id)) this.state.constants = true;
      const path = pathTo(this.plan(version.scope).blocks, id);
      for (const block of path) this.open.get(version.scope).add(block.id);
      this.centreOn = id;
    }
    this.set({ selected: id, panel: "node" });
    if (show) this.draw(this.state).then(() => this.main().centre(`n${id}`));
  }

  opened(item) {
    if (item.closed) {
      this.open.get(this.state.scope).add(item.block.id);
      return this.draw(this.state);
    }
    const inside = this.story.scopes.findIndex((scope) => scope.node === item.node);
    if (inside >= 0) this.set({ scope: inside });
    else if (item.block?.size > 1) this.close(item.block);
    return undefined;
  }

  close(block) {
    this.open.get(this.state.scope).delete(block.id);
    this.draw(this.state);
  }

  showCrumbs() {
    const { scopes } = this.story;
    const parent = (scope) => (scopes[scope].node === undefined ? 0 : this.story.versions[this.story.byId.get(scopes[scope].node).find(([, version]) => version >= 0)[1]].scope);
    const path = [];
    for (let at = this.state.scope; at !== 0; at = parent(at)) path.unshift(at);
    const button = (at) => h("button", { class: "link", "aria-current": at === this.state.scope ? "page" : null, onclick: () => this.set({ scope: at }) }, scopeName(this.story, at));
    const inner = scopes.map((scope, at) => at).filter((at) => at !== this.state.scope && at !== 0 && parent(at) === this.state.scope);
    const most = 40;
    const choice = inner.length ? h("select", { "aria-label": "open a subgraph or function", onchange: (event) => this.set({ scope: Number(event.target.value) }) }, h("option", { value: "" }, `${inner.length} inside…`), inner.slice(0, most * 25).map((at) => h("option", { value: at }, scopeName(this.story, at)))) : null;
    this.crumbs.replaceChildren(...[0, ...path].flatMap((at, place) => [place ? " › " : "", button(at)]), " ", ...(choice ? [choice] : []));
  }

  matching(query) {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    const nodes = this.story.at(this.story.settled(this.state.step), this.state.scope);
    const gone = this.story.at(this.story.before(this.state.step), this.state.scope);
    const text = (version) => [version.name, this.story.opName(version), ...[...this.story.outputs(version), ...this.story.inputs(version)].filter(Boolean).flatMap((value) => [value.name, shapeText(value), value.dtype])].join(" ").toLowerCase();
    return [...new Map([...gone, ...nodes])].filter(([, version]) => words.every((word) => text(version).includes(word))).map(([id]) => id);
  }

  find(query) {
    this.set({ query: query.trim() });
    const found = query.trim() ? this.matching(query) : [];
    this.found.textContent = query.trim() ? `${found.length} found` : "";
    this.matchAt = -1;
  }

  nextMatch() {
    const found = this.matching(this.state.query);
    if (!found.length) return;
    this.matchAt = (this.matchAt + 1) % found.length;
    this.found.textContent = `${this.matchAt + 1} of ${found.length}`;
    this.pick(found[this.matchAt], true);
  }

  neighbour(down) {
    const { selected, step, scope } = this.state;
    const nodes = this.story.at(this.story.settled(step), scope);
    const version = nodes.get(selected);
    if (!version) return;
    const values = new Set((down ? this.story.outputs(version) : this.story.inputs(version)).filter(Boolean).map((value) => value.id));
    const found = [...nodes].find(([, other]) => (down ? this.story.inputs(other) : this.story.outputs(other)).some((value) => value && values.has(value.id)));
    if (found) this.pick(found[0], true);
  }

  key(event) {
    if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const acts = {
      ArrowRight: () => this.go(this.timeline.next(this.state.step, 1)), ArrowLeft: () => this.go(this.timeline.next(this.state.step, -1)),
      Home: () => this.go(0), End: () => this.go(this.timeline.listed().at(-1)),
      "/": () => this.search.focus(), "+": () => this.main().zoom(1.25), "-": () => this.main().zoom(0.8), 0: () => this.main().fit(),
      Escape: () => this.set({ selected: null, scope: 0 }),
      m: () => this.set({ mode: MODES[(MODES.findIndex(([mode]) => mode === this.state.mode) + 1) % MODES.length][0] }),
    };
    const inPanel = event.target.closest?.(".panel, .timeline");
    if (!inPanel && this.state.selected !== null) Object.assign(acts, { ArrowDown: () => this.neighbour(true), ArrowUp: () => this.neighbour(false), Enter: () => this.enter() });
    if (!acts[event.key]) return;
    event.preventDefault();
    acts[event.key]();
  }

  enter() {
    const inside = this.story.scopes.findIndex((scope) => scope.node === this.state.selected);
    if (inside >= 0) this.set({ scope: inside });
  }

  theme() {
    const dark = getComputedStyle(document.documentElement).getPropertyValue("--is-dark").trim() === "1";
    document.documentElement.dataset.theme = dark ? "light" : "dark";
    this.moved(this.main());
  }
}

function allBlocks(blocks) {
  return blocks.flatMap((block) => [block.id, ...allBlocks(block.children ?? [])]);
}

function pathTo(blocks, id) {
  for (const block of blocks) if (block.nodes.includes(id)) return [block, ...pathTo(block.children ?? [], id)];
  return [];
}

function scopeName(story, at) {
  const scope = story.scopes[at];
  const label = scope.kind === "subgraph" ? `${scope.attribute} · ${scope.name}` : scope.kind === "function" ? `function ${scope.name}` : scope.name || "graph";
  return plain(label, 48);
}

readDocument().then(
  (doc) => { window.inspector = new App(new Story(doc), document.getElementById("app")); },
  (error) => { document.getElementById("app").textContent = `This page cannot be shown: ${error.message}`; },
);
