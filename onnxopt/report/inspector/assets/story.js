// The document, and what can be asked of it: which nodes there are at a step, who made a value, who reads it.

async function readDocument() {
  const element = document.getElementById("story");
  if (element.type === "application/json") return JSON.parse(element.textContent);
  const packed = Uint8Array.from(atob(element.textContent), (char) => char.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

class Story {
  constructor(doc) {
    if (doc.format !== 1) throw new Error(`this page reads format 1 of the document, not ${doc.format}`);
    Object.assign(this, doc);
    this.byId = new Map(doc.nodes.map((node) => [node.id, node.versions]));
    this.present = new Map();
    this.shown = new Map();
  }

  // The version of a node at a step; undefined where it is not there.
  version(id, step) {
    let found = -1;
    for (const [since, version] of this.byId.get(id) ?? []) {
      if (since > step) break;
      found = version;
    }
    return found < 0 ? undefined : this.versions[found];
  }

  // All nodes of a scope at a step, by id. A few steps are kept.
  at(step, scope) {
    const key = `${step}/${scope}`;
    if (!this.present.has(key)) {
      const found = new Map();
      for (const id of this.byId.keys()) {
        const version = this.version(id, step);
        if (version && version.scope === scope) found.set(id, version);
      }
      if (this.present.size > 8) this.present.delete(this.present.keys().next().value);
      this.present.set(key, found);
    }
    return this.present.get(key);
  }

  value(index) {
    return index < 0 ? undefined : this.values[index];
  }

  inputs(version) {
    return (version.inputs ?? []).map((index) => this.value(index));
  }

  // What a node reads, and what its subgraphs read of the graph around it.
  reads(version) {
    return [...this.inputs(version), ...(version.captured ?? []).map((index) => this.value(index))];
  }

  outputs(version) {
    return (version.outputs ?? []).map((index) => this.value(index));
  }

  weight(value) {
    return value?.weight === undefined ? undefined : this.weights[value.weight];
  }

  // The step at or before `step` that last changed the graph.
  settled(step) {
    let at = Math.min(step, this.steps.length - 1);
    while (at > 0 && !this.steps[at].delta) at -= 1;
    return at;
  }

  // The step whose graph a pass was given.
  before(step) {
    return step === 0 ? 0 : this.settled(step - 1);
  }

  interfaceOf(step, scope) {
    for (let at = this.settled(step); at >= 0; at -= 1) {
      const found = this.steps[at].delta?.interfaces.find((one) => one.scope === scope);
      if (found) return found;
    }
    return { inputs: [], outputs: [] };
  }

  // Nodes that compute from weights alone: drawn only where that is asked for.
  constants(step, scope) {
    const key = `${step}/${scope}`;
    if (this.shown.has(key)) return this.shown.get(key);
    const nodes = this.at(step, scope);
    const maker = makers(this, nodes);
    const known = new Map();
    const isConstant = (id) => {
      if (!known.has(id)) {
        known.set(id, false); // of a cycle, which no graph has
        const version = nodes.get(id);
        const read = this.inputs(version).filter(Boolean);
        const fed = read.every((value) => value.weight !== undefined || (maker.has(value.id) && isConstant(maker.get(value.id))));
        known.set(id, version.op === "Constant" || (read.length > 0 && fed));
      }
      return known.get(id);
    };
    const found = new Set([...nodes.keys()].filter(isConstant));
    if (this.shown.size > 64) this.shown.clear();
    this.shown.set(key, found);
    return found;
  }

  opName(version) {
    return version.domain ? `${version.domain}.${version.op}` : version.op;
  }
}

// Which node of a graph makes each value.
function makers(story, nodes) {
  const found = new Map();
  for (const [id, version] of nodes) for (const value of story.outputs(version)) if (value) found.set(value.id, id);
  return found;
}
