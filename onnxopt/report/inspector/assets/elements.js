// Elements, made without HTML text: a name of a model can never become markup.

const SVG = "http://www.w3.org/2000/svg";

function h(tag, props = {}, ...children) {
  return filled(document.createElement(tag), props, children);
}

function s(tag, props = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), props, children);
}

function filled(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// A name as it can be shown: cut, control and direction characters made visible, its own direction isolated by CSS.
function plain(text, most = 80) {
  const clean = String(text).replace(/[\u0000-\u001f\u007f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "·");
  if (clean.length <= most) return clean;
  return most < 60 ? `${clean.slice(0, most - 1)}…` : `${clean.slice(0, most - 12)}… (${clean.length})`;
}

function name(text, most) {
  return h("bdi", { class: "name", title: plain(text, 600) }, plain(text, most));
}

function counted(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

function amount(count) {
  return scaled(count, 1000, ["", "K", "M", "G", "T", "P"]);
}

function bytes(count) {
  return scaled(count, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
}

function scaled(count, base, units) {
  let [value, at] = [count, 0];
  while (Math.abs(value) >= base && at < units.length - 1) [value, at] = [value / base, at + 1];
  return `${at ? value.toFixed(1) : count} ${units[at]}`.trim();
}

function changed(before, after) {
  if (before === after) return "";
  if (!before) return "new";
  const percent = (100 * (after - before)) / before;
  return `${percent > 0 ? "+" : "−"}${Math.abs(percent) < 0.05 ? "<0.1" : Math.abs(percent).toFixed(1)} %`;
}

function number(value) {
  return typeof value === "number" ? String(Number(value.toPrecision(5))) : String(value);
}

function shapeText(value) {
  if (!value.shape) return "[…]";
  return `[${value.shape.map((dim) => (dim === null ? "?" : plain(dim, 16))).join(", ")}]`;
}

function table(headings, rows, kind = "") {
  const head = h("tr", {}, headings.map((heading) => h("th", { scope: "col" }, heading)));
  const body = rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell))));
  return h("div", { class: "scroll" }, h("table", { class: kind }, h("thead", {}, head), h("tbody", {}, body)));
}
