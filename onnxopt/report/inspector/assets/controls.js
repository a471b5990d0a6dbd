// The buttons around the graph, the way to the scope that is looked at, the legend.

const MODES = [
  ["changes", "changes", "one picture: what the pass added, changed and removed"],
  ["before", "before", "the graph that the pass was given"],
  ["after", "after", "the graph that the pass left"],
  ["side", "side by side", "before and after beside each other"],
];
const PANELS = [["pass", "Pass"], ["node", "Node"], ["diff", "Diff"], ["tables", "Tables"]];
const STATES = ["added", "changed", "removed"];
const KEYS = "← → pass · ↑ ↓ node · n change · Enter open · Esc back · / search · m view";
const MOST_SCOPES = 1000; // in the list to choose from

class Controls {
  constructor(app) {
    this.app = app;
    this.modes = MODES.map(([mode, label, title]) => button(label, title, () => app.set({ mode }), { "data-mode": mode }));
    this.constants = h("input", { type: "checkbox", onchange: (event) => app.set({ constants: event.target.checked }) });
    this.crumbs = h("nav", { class: "crumbs", "aria-label": "scope" });
    this.legend = h("p", { class: "legend" });
    const next = button("next change", "n: the next node that the pass changed", () => app.nextChange(1));
    this.tools = h("div", { class: "tools" }, group("view", ...this.modes), next, this.zooming());
    this.place = h("div", { class: "tools place" }, this.crumbs, this.blocks());
  }

  zooming() {
    const { app } = this;
    return group("zoom", button("−", "zoom out", () => app.main().zoom(0.8)), button("+", "zoom in", () => app.main().zoom(1.25)),
      button("top", "fit the width, from the top", () => app.main().fit()), button("whole", "fit the whole graph", () => app.main().whole()));
  }

  blocks() {
    const { app } = this;
    const collapse = button("collapse", "collapse all blocks", () => app.collapseAll());
    const blocks = group("blocks", collapse, button("expand", "expand all blocks", () => app.expandAll()));
    return [blocks, h("label", { class: "toggle", title: "draw nodes that compute from weights alone" }, this.constants, " constants")];
  }

  show({ mode, scope, constants }, states) {
    for (const one of this.modes) one.setAttribute("aria-pressed", String(one.dataset.mode === mode));
    this.constants.checked = constants;
    this.crumbs.replaceChildren(...this.way(scope));
    const counts = STATES.map((state) => [state, [...states.values()].filter((one) => one === state).length]);
    const shown = counts.map(([state, count]) => h("span", { class: state }, `${state}${count ? ` ${count}` : ""}`));
    this.legend.replaceChildren(...shown, h("span", { class: "alike" }, "A, B: alike"), h("kbd", {}, KEYS));
  }

  // From the graph to the scope, its siblings in the same node, and what is inside.
  way(scope) {
    const { story } = this.app;
    const path = [];
    for (let at = scope; at !== undefined; at = story.around(at)) path.unshift(at);
    const { node } = story.scopes[scope];
    const siblings = node === undefined ? [] : story.bodies.get(node).filter((at) => at !== scope);
    const inner = story.scopes.map((_, at) => at).filter((at) => story.around(at) === scope);
    return [
      ...path.flatMap((at, place) => [place ? " › " : "", this.link(at)]),
      ...siblings.flatMap((at) => [" | ", this.link(at)]), " ", ...(inner.length ? [this.choice(inner)] : []),
    ];
  }

  link(at) {
    return h("button", { class: "link", "aria-current": at === this.app.state.scope ? "page" : null, onclick: () => this.app.set({ scope: at }) }, scopeName(this.app.story, at));
  }

  choice(inner) {
    const options = inner.slice(0, MOST_SCOPES).map((at) => h("option", { value: at }, scopeName(this.app.story, at)));
    const go = (event) => event.target.value && this.app.set({ scope: Number(event.target.value) });
    return h("select", { "aria-label": "open a subgraph or function", onchange: go }, h("option", { value: "" }, `${inner.length} inside…`), options);
  }
}

function button(label, title, onclick, more = {}) {
  return h("button", { type: "button", title, onclick, ...more }, label);
}

function group(label, ...buttons) {
  return h("span", { class: "group", role: "group", "aria-label": label }, buttons);
}

function scopeName(story, at) {
  const { kind, attribute, name: called } = story.scopes[at];
  const label = { subgraph: `${attribute} · ${called}`, function: `function ${called}` }[kind] ?? (called || "graph");
  return plain(label, 48);
}

// The tabs of the panel: one is a tab stop, arrows go to the others.
class Tabs {
  constructor(onTab) {
    this.onTab = onTab;
    this.body = h("section", { class: "panel-body", role: "tabpanel", id: "panel", tabindex: 0 });
    const tab = { type: "button", role: "tab", "aria-controls": "panel" };
    this.tabs = PANELS.map(([panel, label]) => h("button", { ...tab, id: `tab-${panel}`, "data-panel": panel, onclick: () => onTab(panel) }, label));
    const list = h("div", { class: "tabs", role: "tablist", "aria-label": "details", onkeydown: (event) => this.key(event) }, this.tabs);
    this.element = h("aside", { class: "panel", "aria-label": "details" }, list, this.body);
  }

  key(event) {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.stopPropagation();
    event.preventDefault();
    const next = this.tabs.at((this.tabs.indexOf(event.target) + by) % this.tabs.length);
    this.onTab(next.dataset.panel);
    next.focus();
  }

  show(panel, content) {
    for (const tab of this.tabs) {
      const isOn = tab.dataset.panel === panel;
      tab.setAttribute("aria-selected", String(isOn));
      tab.tabIndex = isOn ? 0 : -1;
    }
    this.body.setAttribute("aria-labelledby", `tab-${panel}`);
    this.body.replaceChildren(content);
  }
}
