// Finding nodes by name, operator, shape: all words must be in the text of a node.

class Search {
  constructor(app) {
    this.app = app;
    this.at = -1;
    const acts = { oninput: () => this.find(), onkeydown: (event) => this.key(event) };
    this.input = h("input", { type: "search", placeholder: "name, operator, shape", "aria-label": "search nodes", title: "/", ...acts });
    this.found = h("output", { class: "found", "aria-live": "polite" });
    this.element = h("span", { class: "searching", role: "search" }, this.input, this.found);
  }

  key(event) {
    if (event.key === "Enter") this.next(event.shiftKey ? -1 : 1);
    if (event.key === "Escape") {
      this.input.value = "";
      this.find();
      this.input.blur();
    }
  }

  find() {
    const query = this.input.value.trim();
    this.at = -1;
    this.app.set({ query });
    if (query && this.matching(query).length) this.say(`${this.matches.length} found`);
    else this.say(query ? `none here${this.elsewhere(query)}` : "");
  }

  say(text) {
    this.found.textContent = text;
  }

  // The nodes that match, of the graph before the pass and after it, in the scope that is looked at.
  matching(query) {
    const { step, scope } = this.app.state;
    this.matches = this.inScope(query, step, scope);
    return this.matches;
  }

  inScope(query, step, scope) {
    const { story } = this.app;
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    const nodes = new Map([...story.at(story.before(step), scope), ...story.at(story.settled(step), scope)]);
    const isMatch = ([, version]) => words.every((word) => textOf(story, version).includes(word));
    return [...nodes].filter(isMatch).map(([id]) => id);
  }

  elsewhere(query) {
    const { story, state } = this.app;
    const others = story.scopes.map((scope, at) => at).filter((at) => at !== state.scope);
    this.matches = others.flatMap((scope) => this.inScope(query, state.step, scope));
    return this.matches.length ? `, ${this.matches.length} in other scopes` : "";
  }

  next(by) {
    if (!this.matches?.length || !this.input.value.trim()) return;
    this.at = (this.at + by + this.matches.length) % this.matches.length;
    const { matches, at } = this;
    this.app.pick(matches[at], true);
    this.matches = matches; // drawing looks for those of the scope that it draws
    this.say(`${at + 1} of ${matches.length}`);
  }
}

function textOf(story, version) {
  const values = [...story.outputs(version), ...story.inputs(version)].filter(Boolean);
  return [version.name, story.opName(version), ...values.flatMap((value) => [value.name, shapeText(value), value.dtype])].join(" ").toLowerCase();
}
