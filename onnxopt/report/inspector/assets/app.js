// The page: what is looked at, and what follows when that changes.

const KINDS = {
  changes: [null, ["kept", "added", "changed", "removed"]],
  before: [["kept", "changed", "removed"], null],
  after: [null, ["kept", "added", "changed"]],
  side: [["kept", "changed", "removed"], ["kept", "added", "changed"]],
}; // what is drawn in the picture before and in the one after
const DRAWN = ["step", "mode", "scope", "constants", "selected", "query"]; // what the pictures depend on

class App {
  constructor(story, root) {
    this.story = story;
    this.state = { step: 0, mode: "changes", scope: 0, selected: null, panel: "pass", constants: false, query: "" };
    this.open = new Map(); // names of the open blocks, by scope
    this.known = new Map(); // plans and scenes
    this.view = { items: [], owner: new Map() }; // what is drawn: nothing yet
    this.states = new Map();
    this.layouts = new Layouts();
    this.panes = ["before", "after"].map((label) => new Drawing(label, (drawing) => this.moved(drawing)));
    for (const pane of this.panes) pane.element.hidden = true;
    this.minimap = new Minimap((x, y) => this.main().centreOn(x, y));
    this.timeline = new Timeline(story, (step) => this.go(step));
    this.search = new Search(this);
    this.controls = new Controls(this);
    this.tabs = new Tabs((panel) => this.set({ panel }));
    this.build(root);
    this.listen();
    this.showPanel();
    this.timeline.mark(0);
    // The timeline is painted first: of a very large graph the drawing takes a while to prepare.
    requestAnimationFrame(() => setTimeout(() => this.draw()));
  }

  build(root) {
    const theme = button("◐", "light or dark", () => this.theme(), { "aria-label": "light or dark" });
    const head = h("header", {}, h("h1", {}, name(this.story.title, 60)), h("p", { class: "pipeline" }, name(this.story.pipeline, 200)), this.search.element, theme);
    this.graph = h("div", { class: "panes" }, this.panes.map((pane) => pane.element), this.minimap.canvas);
    const middle = h("main", {}, this.controls.tools, this.controls.place, this.graph, this.controls.legend);
    const failed = this.story.failed ? [h("p", { class: "banner bad", role: "alert" }, plain(this.story.failed, 600))] : [];
    root.replaceChildren(head, ...failed, h("div", { class: "columns" }, this.timeline.element, middle, this.tabs.element));
  }

  listen() {
    listenToKeys(this);
    window.addEventListener("resize", () => this.moved(this.main()));
    // Paper has another size than the window: what is seen now is what is printed.
    window.addEventListener("beforeprint", () => this.panes.forEach(({ svg }) => svg.setAttribute("viewBox", `0 0 ${svg.clientWidth} ${svg.clientHeight}`)));
    window.addEventListener("afterprint", () => this.panes.forEach(({ svg }) => svg.removeAttribute("viewBox")));
  }

  // The picture that is worked on: that of the graph after the pass, where it is shown.
  main() {
    return this.panes[this.state.mode === "before" ? 0 : 1];
  }

  go(step, focus = false) {
    this.set({ step });
    this.timeline.mark(step, focus);
  }

  set(next) {
    const was = { ...this.state };
    Object.assign(this.state, next);
    this.showPanel();
    return DRAWN.some((key) => was[key] !== this.state[key]) || !this.key ? this.draw() : Promise.resolve();
  }

  showPanel() {
    const { panel, selected, step } = this.state;
    const go = (id) => this.pick(id, true);
    const made = {
      pass: () => rewritesPanel(this.story, step, go),
      node: () => (selected === null ? h("p", { class: "dim" }, "Click a node, or search for one.") : nodePanel(this.story, selected, step, go)),
      diff: () => diffPanel(this.story, step),
      tables: () => tablesPanel(this.story, step),
    }[panel]();
    this.tabs.show(panel, made);
  }

  once(key, make) {
    if (!this.known.has(key)) this.known.set(key, make());
    return this.known.get(key);
  }

  plan(scope = this.state.scope) {
    const { constants } = this.state;
    const plan = this.once(`${scope}/${constants}`, () => planOf(this.story, scope, constants));
    if (!this.open.has(scope)) this.open.set(scope, new Set(plan.order.length <= FEW ? allBlocks(plan.blocks).map(({ id }) => id) : []));
    return plan;
  }

  sceneKey() {
    const { scope, constants } = this.state;
    return `${scope}/${constants}/${[...this.open.get(scope)].sort().join()}`;
  }

  // What is drawn is always what is looked at when the layout has come, which may be more than was asked for.
  async draw() {
    this.graph.classList.add("busy");
    const plan = this.plan();
    const key = this.sceneKey();
    const view = this.once(`scene ${key}`, () => sceneOf(this.story, plan, this.open.get(this.state.scope)));
    const found = await this.layouts.of(key, view.items.map(({ id, width, height }) => ({ id, width, height })), view.edges);
    if (key !== this.sceneKey()) return;
    this.graph.classList.remove("busy");
    this.show(found, view, key);
  }

  show(found, view, key) {
    const { story } = this;
    const { step, mode, scope, selected, query } = this.state;
    const wasAt = this.key === key && this.mode === mode;
    const focus = this.mode === mode ? undefined : this.main().middle();
    [this.view, this.states] = [view, statesOf(story, view, step, scope)];
    const owner = selected === null ? null : view.owner.get(selected);
    const anchor = owner ?? [...this.states].find(([, state]) => state !== "kept")?.[0];
    const look = {
      selected: owner,
      matches: query ? new Set(this.search.matching(query).map((id) => view.owner.get(id))) : null,
      onPick: (item) => this.picked(item),
      onOpen: (item) => this.opened(item),
      onClose: (block) => this.toggle(block, false),
      titleOf: (block) => this.titleOf(block),
    };
    KINDS[mode].forEach((kinds, at) => this.showPane(this.panes[at], kinds, at, { found, look, anchor, wasAt }));
    [this.key, this.mode] = [key, mode];
    this.controls.show(this.state, this.states);
    this.minimap.show(this.main(), this.states);
    if (!wasAt) this.start(owner ?? focus);
    else this.keepChangesSeen();
    document.body.dataset.drawn = `${step}/${mode}/${view.items.length}`;
  }

  showPane(pane, kinds, at, { found, look, anchor, wasAt }) {
    pane.element.hidden = !kinds;
    if (!kinds) return;
    const { story, view, states } = this;
    const { step, mode, scope } = this.state;
    const was = wasAt && anchor ? pane.screenY(anchor) : undefined;
    const isBefore = at === 0;
    const shownAt = isBefore ? story.before(step) : story.settled(step);
    const stateOf = (item) => (states.get(item.id) === "kept" ? "" : states.get(item.id));
    const drawn = view.items.filter((item) => kinds.includes(states.get(item.id)));
    const items = drawn.map((item) => ({ ...item, ...labelOf(story, item, shownAt), state: stateOf(item) }));
    const ids = new Set(items.map(({ id }) => id));
    const isShown = mode === "side" ? (id) => states.has(id) : (id) => ids.has(id);
    const edges = edgesOf(story, view, step, scope, mode === "changes" ? "both" : isBefore ? "before" : "after");
    pane.show(found, { items, edges, isShown }, look);
    pane.caption.textContent = mode === "changes" ? "" : ["before", "after"][at];
    const now = pane.screenY(anchor);
    if (was !== undefined && now !== undefined) pane.place(pane.x, pane.y + was - now, pane.scale, true);
  }

  start(item) {
    this.minimap.canvas.hidden = false;
    for (const pane of this.panes) if (!pane.element.hidden) pane.fit();
    if (item) this.main().centre(item);
    this.moved(this.main());
  }

  // Stepping shows what the pass did, not a part of the graph that it left alone.
  keepChangesSeen() {
    const changed = this.changes();
    if (this.main().step !== this.state.step && changed.length && !changed.some((id) => this.main().sees(id))) this.main().centre(changed[0]);
    this.main().step = this.state.step;
    this.moved(this.main());
  }

  // The items that the pass changed and that are drawn, from the top.
  changes() {
    const { positions } = this.main();
    const drawn = [...this.states].filter(([id, state]) => state !== "kept" && positions.has(id)).map(([id]) => id);
    return drawn.sort((one, other) => positions.get(one).y - positions.get(other).y || positions.get(one).x - positions.get(other).x);
  }

  nextChange(by) {
    const changed = this.changes();
    if (!changed.length) return this.search.say("this pass changed nothing that is drawn here");
    const at = changed.indexOf(this.changeAt);
    this.changeAt = changed.at((at < 0 ? (by > 0 ? 0 : -1) : at + by) % changed.length);
    const item = this.view.items.find(({ id }) => id === this.changeAt);
    if (item.node !== undefined) this.pick(item.node);
    this.main().centre(this.changeAt);
    return this.search.say(`change ${changed.indexOf(this.changeAt) + 1} of ${changed.length}`);
  }

  nextMode() {
    const at = MODES.findIndex(([mode]) => mode === this.state.mode);
    this.set({ mode: MODES[(at + 1) % MODES.length][0] });
  }

  moved(drawing) {
    if (this.state.mode === "side") for (const pane of this.panes) if (pane !== drawing) pane.place(drawing.x, drawing.y, drawing.scale, true);
    this.minimap.show(this.main(), this.states);
  }

  titleOf(block) {
    const called = blockName(block, (id) => this.story.firstVersion(id).name);
    return `${block.letter ? `${block.letter} · ` : ""}${called || `${block.size} nodes`}`;
  }

  picked(item) {
    if (item.closed) this.toggle(item.block, true);
    else if (item.node !== undefined) this.pick(item.node);
  }

  // Select a node; where it is not drawn, open what hides it.
  async pick(id, show = false) {
    if (show) this.uncover(id);
    await this.set({ selected: id, panel: "node" });
    if (!show) return;
    await this.draw();
    const item = `n${id}`;
    if (!this.main().sees(item)) this.main().centre(item);
  }

  uncover(id) {
    const { scope } = this.story.someVersion(id, this.state.step);
    this.state.scope = scope;
    if (this.plan(scope).hidden.has(id)) this.state.constants = true;
    for (const block of pathTo(this.plan(scope).blocks, id)) this.open.get(scope).add(block.id);
  }

  opened(item) {
    if (item.closed) this.toggle(item.block, true);
    else if (item.node !== undefined) this.goInside(item.node);
  }

  goInside(node) {
    const [inside] = this.story.inside(node, this.story.someVersion(node, this.state.step));
    if (inside !== undefined) this.set({ scope: inside, selected: null });
  }

  async toggle(block, isOpen) {
    const open = this.open.get(this.state.scope);
    if (isOpen) open.add(block.id);
    else for (const one of allBlocks([block])) open.delete(one.id);
    await this.draw();
    this.main().centre(isOpen ? this.view.owner.get(block.nodes[0]) : block.id);
  }

  collapseAll() {
    this.open.set(this.state.scope, new Set());
    this.draw();
  }

  expandAll() {
    const { blocks, order } = this.plan();
    if (order.length > MANY) return this.search.say(`${order.length} nodes are too many to draw at once: open blocks one by one`);
    this.open.set(this.state.scope, new Set(allBlocks(blocks).map(({ id }) => id)));
    return this.draw();
  }

  enter() {
    const focused = document.activeElement?.closest?.(".box, .tool");
    const item = this.view.items.find(({ id }) => id === focused?.dataset.id);
    if (item) this.opened(item);
    else if (focused) focused.dispatchEvent(new MouseEvent("click"));
    else if (this.state.selected !== null) this.goInside(this.state.selected);
  }

  // Out of the selection, then out of the scope; what was inside of is selected.
  back() {
    const { selected, scope } = this.state;
    const around = this.story.around(scope);
    if (selected !== null) this.set({ selected: null });
    else if (around !== undefined) this.set({ scope: around, selected: this.story.scopes[scope].node ?? null });
  }

  theme() {
    const isDark = getComputedStyle(document.documentElement).getPropertyValue("--is-dark").trim() === "1";
    document.documentElement.dataset.theme = isDark ? "light" : "dark";
    this.minimap.show(this.main(), this.states);
  }
}

readDocument().then(
  (doc) => { window.inspector = new App(new Story(doc), document.getElementById("app")); },
  (error) => { document.getElementById("app").textContent = `This page cannot be shown: ${error.message}`; },
);
