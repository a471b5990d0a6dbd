// The passes in order: what each took and did, and what the graph cost after it.

const FIGURES = [
  ["nodes", "nodes", amount],
  ["parameters", "parameters", amount],
  ["weight_bytes", "weights", bytes],
  ["macs", "MACs", amount],
];

class Timeline {
  constructor(story, onStep) {
    this.story = story;
    this.onStep = onStep;
    this.all = false;
    this.list = h("ol", { class: "steps", role: "listbox", "aria-label": "passes" });
    this.charts = h("div", { class: "charts" });
    const quiet = story.steps.filter((step) => !this.tells(step)).length;
    const label = `${counted(quiet, "pass", "passes")} that changed nothing`;
    const toggle = h("label", { class: "toggle" }, h("input", { type: "checkbox", onchange: (event) => this.showAll(event.target.checked) }), ` ${label}`);
    this.element = h("nav", { class: "timeline", "aria-label": "timeline of the passes" }, this.charts, this.list, quiet ? toggle : null);
    this.fill();
  }

  tells(step) {
    return step.changed !== false || step.failed || step.taken_back;
  }

  // The steps that are listed, by number.
  listed() {
    return this.story.steps.map((step, at) => at).filter((at) => this.all || this.tells(this.story.steps[at]));
  }

  showAll(all) {
    this.all = all;
    this.fill();
    this.mark(this.step ?? 0);
  }

  fill() {
    const slowest = Math.max(...this.story.steps.map((step) => step.seconds ?? 0), 1e-9);
    this.rows = new Map(this.listed().map((at) => [at, this.row(this.story.steps[at], at, slowest)]));
    this.list.replaceChildren(...this.rows.values());
    this.charts.replaceChildren(...FIGURES.map((figure) => this.chart(...figure)));
  }

  row(step, at, slowest) {
    const facts = [];
    if (step.rewrites?.length) facts.push(counted(step.rewrites.length, "rewrite"));
    if (step.seconds !== undefined) facts.push(duration(step.seconds));
    const checked = checkText(step);
    const state = step.failed ? "failed" : this.tells(step) ? "" : "idle";
    const share = (100 * (step.seconds ?? 0)) / slowest;
    const bar = s("svg", { class: "bar", viewBox: "0 0 100 3", preserveAspectRatio: "none", "aria-hidden": "true" }, s("rect", { width: share, height: 3 }));
    return h(
      "li",
      { class: `step ${state}`, role: "option", "data-step": at, tabindex: -1, onclick: () => this.onStep(at) },
      h("span", { class: "index" }, String(at)),
      h("span", { class: "what" }, name(step.text || step.name, 60), h("small", {}, facts.join(" · ")), checked && h("small", { class: checked.kind }, checked.text)),
      step.seconds === undefined ? null : bar,
    );
  }

  // One figure after each step, from zero.
  chart(key, label, show) {
    const steps = this.story.steps;
    const listed = this.listed();
    const values = listed.map((at) => steps[this.story.settled(at)].costs?.[key] ?? 0);
    const most = Math.max(...values, 1);
    const [first, last] = [values[0], values.at(-1)];
    const bars = values.map((value, place) =>
      s("rect", { x: place, width: 0.8, y: 20 - (20 * value) / most, height: (20 * value) / most, "data-step": listed[place], onclick: () => this.onStep(listed[place]) },
        s("title", {}, `${plain(steps[listed[place]].name)}: ${show(value)}`)));
    const text = `${label}: ${show(first)} to ${show(last)} ${changed(first, last)}`;
    return h(
      "figure",
      { class: "chart" },
      s("svg", { viewBox: `0 0 ${values.length} 20`, preserveAspectRatio: "none", role: "img", "aria-label": text }, bars),
      h("figcaption", {}, `${label} `, h("b", {}, show(last)), ` ${changed(first, last)}`),
    );
  }

  mark(at, focus = false) {
    this.step = at;
    for (const [step, row] of this.rows) {
      row.setAttribute("aria-selected", String(step === at));
      row.tabIndex = step === at ? 0 : -1;
    }
    for (const bar of this.charts.querySelectorAll("rect")) bar.classList.toggle("now", Number(bar.dataset.step) === at);
    this.reveal(this.rows.get(at));
    if (focus) this.rows.get(at)?.focus({ preventScroll: true });
  }

  // Only the list scrolls: on a narrow screen the page must stay where it is.
  reveal(row) {
    if (!row) return;
    for (const box of [this.list, this.element]) {
      const [inner, outer] = [row.getBoundingClientRect(), box.getBoundingClientRect()];
      if (box.scrollWidth > box.clientWidth) box.scrollLeft += inner.left < outer.left ? inner.left - outer.left : Math.max(0, inner.right - outer.right);
      if (box.scrollHeight > box.clientHeight) box.scrollTop += inner.top < outer.top ? inner.top - outer.top : Math.max(0, inner.bottom - outer.bottom);
    }
  }

  // The step `by` further in the list.
  next(at, by) {
    const listed = this.listed();
    const place = listed.indexOf(at);
    if (place < 0) return listed.filter((one) => (by > 0 ? one > at : one < at)).at(by > 0 ? 0 : -1) ?? at;
    return listed[Math.min(listed.length - 1, Math.max(0, place + by))];
  }
}

function duration(seconds) {
  return seconds < 0.001 ? "<1 ms" : seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`;
}

// What verifying said of a step.
function checkText(step) {
  if (step.failed) return { kind: "bad", text: plain(step.failed.split("\n")[0], 120) };
  if (step.taken_back) return { kind: "warn", text: `taken back: ${plain(step.taken_back, 80)}` };
  if (!step.verified) return null;
  const worst = step.verified.worst;
  if (!worst) return { kind: "warn", text: "no output can be compared" };
  if (worst.bit_equal) return { kind: "good", text: "verified: equal bits" };
  return { kind: "good", text: `verified: off by ${number(worst.largest_absolute)} in ${plain(worst.output, 24)}` };
}
