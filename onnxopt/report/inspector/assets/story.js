// The document, and what can be asked of it: which nodes there are at a step, who made a value, who reads it.

const KEPT = 8; // steps of which the nodes are kept
const NOTHING = new Map();

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
    this.bodies = grouped(doc.scopes, (scope) => scope.node);
    this.functions = grouped(doc.scopes, (scope) => (scope.kind === "function" ? scope.name : undefined));
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

  // All nodes of a scope at a step, by id.
  at(step, scope) {
    return this.graphAt(step).get(scope) ?? NOTHING;
  }

  // The nodes of every scope at a step. A few steps are kept: stepping to and fro asks for the same ones.
  graphAt(step) {
    if (!this.present.has(step)) {
      const found = new Map();
      for (const id of this.byId.keys()) {
        const version = this.version(id, step);
        if (!version) continue;
        if (!found.has(version.scope)) found.set(version.scope, new Map());
        found.get(version.scope).set(id, version);
      }
      if (this.present.size >= KEPT) this.present.delete(this.present.keys().next().value);
      this.present.set(step, found);
    }
    return this.present.get(step);
  }

  // A version of a node that is known at all: the one at a step, else the one before the step, else its first.
  someVersion(id, step) {
    return this.version(id, this.settled(step)) ?? this.version(id, this.before(step)) ?? this.firstVersion(id);
  }

  firstVersion(id) {
    return this.versions[this.byId.get(id).find(([, version]) => version >= 0)[1]];
  }

  value(index) {
    return index < 0 ? undefined : this.values[index];
  }

  inputs(version) {
    return (version.inputs ?? []).map((index) => this.value(index));
  }

  // The same as `reads`, for each value of many nodes: no list is made.
  eachRead(version, visit) {
    for (const index of version.inputs ?? []) if (index >= 0) visit(this.values[index]);
    for (const index of version.captured ?? []) if (index >= 0) visit(this.values[index]);
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
    const nodes = this.at(step, scope);
    const maker = makers(this, nodes);
    const known = new Map();
    for (const root of nodes.keys()) {
      if (known.has(root)) continue;
      // Without recursion: a chain of constants may be as long as the graph.
      const pending = [root];
      while (pending.length) {
        const id = pending.at(-1);
        const feeders = this.feeders(nodes.get(id), maker);
        const next = feeders?.find((made) => !known.has(made));
        if (next === undefined || feeders.some((made) => known.get(made) === false)) {
          known.set(id, feeders !== null && feeders.every((made) => known.get(made)));
          pending.pop();
        } else {
          known.set(next, undefined); // of a cycle, which no graph has
          pending.push(next);
        }
      }
    }
    return new Set([...known].filter(([, constant]) => constant).map(([id]) => id));
  }

  // The nodes that make what a node reads beside weights; null where it reads what comes from outside, or nothing.
  feeders(version, maker) {
    if (version.op === "Constant") return [];
    const found = [];
    for (const index of version.inputs ?? []) {
      const value = this.values[index];
      if (!value || value.weight !== undefined) continue;
      const made = maker.get(value.id);
      if (made === undefined) return null;
      found.push(made);
    }
    return version.inputs?.length ? found : null;
  }

  // The scopes inside a node: the bodies of an If, Loop or Scan, and of a function of the model.
  inside(id, version) {
    return [...(this.bodies.get(id) ?? []), ...(version?.domain ? (this.functions.get(this.opName(version)) ?? []) : [])];
  }

  // The scope around one; none around the graph itself and around functions.
  around(scope) {
    const { node } = this.scopes[scope];
    return node === undefined ? (scope === 0 ? undefined : 0) : this.firstVersion(node).scope;
  }

  opName(version) {
    return version.domain ? `${version.domain}.${version.op}` : version.op;
  }
}

// Indices of a list by key; those without a key are left out.
function grouped(list, keyOf) {
  const found = new Map();
  list.forEach((one, at) => {
    const key = keyOf(one);
    if (key !== undefined) found.set(key, [...(found.get(key) ?? []), at]);
  });
  return found;
}

const MAKERS = new WeakMap();

// Which node of a graph makes each value. Asked for often, and kept for as long as the nodes are.
function makers(story, nodes) {
  let found = MAKERS.get(nodes);
  if (!found) {
    found = new Map();
    for (const [id, version] of nodes) for (const index of version.outputs ?? []) if (index >= 0) found.set(story.values[index].id, id);
    MAKERS.set(nodes, found);
  }
  return found;
}
