// The graph as a picture that is dragged, zoomed and clicked.

const CHAR = 6.6; // about the width of a character of a node's label, in pixels
const MOST_CHARS = 26;

function boxOf(label, detail) {
  const chars = Math.min(MOST_CHARS, Math.max(label.length, detail.length * 0.86, 5));
  return { width: Math.round(chars * CHAR + 22), height: detail ? 36 : 24 };
}

// Positions without the rows in which nothing is shown: x stays, y moves up.
function compacted(found, isShown) {
  const rows = new Map();
  for (const item of found.items) {
    const row = rows.get(item.y) ?? { y: item.y, height: 0, used: false };
    row.height = Math.max(row.height, item.height);
    row.used ||= isShown(item.id);
    rows.set(item.y, row);
  }
  const sorted = [...rows.values()].sort((a, b) => a.y - b.y);
  let next = 16;
  for (const row of sorted) {
    if (row.used) next += row.height / 2;
    row.to = next;
    if (row.used) next += row.height / 2 + 26;
  }
  const moved = (y) => {
    let [low, high] = [0, sorted.length - 1];
    if (!sorted.length || y <= sorted[0].y) return (sorted[0]?.to ?? 0) + y - (sorted[0]?.y ?? 0);
    if (y >= sorted[high].y) return sorted[high].to + y - sorted[high].y;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (sorted[middle].y <= y) low = middle;
      else high = middle;
    }
    const share = (y - sorted[low].y) / (sorted[high].y - sorted[low].y);
    return sorted[low].to + share * (sorted[high].to - sorted[low].to);
  };
  return { moved, height: next, width: Math.max(0, ...found.items.map((item) => item.x + item.width / 2)) + 16 };
}

function curve(points, moved) {
  const at = points.map(({ x, y }) => [x, moved(y)]);
  let path = `M${at[0][0]},${at[0][1]}`;
  for (let next = 1; next < at.length; next += 1) {
    const middle = (at[next - 1][1] + at[next][1]) / 2;
    path += `C${at[next - 1][0]},${middle} ${at[next][0]},${middle} ${at[next][0]},${at[next][1]}`;
  }
  return path;
}

class Drawing {
  constructor(label, onMove) {
    this.scale = 1;
    this.x = this.y = 0;
    this.onMove = onMove;
    this.layer = s("g");
    this.arrow = `arrow-${label}`;
    const tip = s("marker", { id: this.arrow, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 6, markerHeight: 6, orient: "auto" }, s("path", { d: "M0,0L8,4L0,8z" }));
    this.svg = s("svg", { class: "graph", role: "group", "aria-label": `graph, ${label}`, tabindex: 0 }, s("defs", {}, tip), this.layer);
    this.caption = h("div", { class: "caption" }, label);
    this.element = h("div", { class: "pane" }, this.svg, this.caption);
    this.pointers = new Map();
    this.listen();
  }

  listen() {
    this.svg.addEventListener("wheel", (event) => {
      event.preventDefault();
      const box = this.svg.getBoundingClientRect();
      if (event.ctrlKey || event.metaKey || !event.shiftKey) this.zoom(Math.exp(-event.deltaY * 0.0016), event.clientX - box.left, event.clientY - box.top);
      else this.move(-event.deltaY, 0);
    }, { passive: false });
    this.svg.addEventListener("pointerdown", (event) => {
      this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
      this.dragged = 0;
    });
    this.svg.addEventListener("pointermove", (event) => this.drag(event));
    for (const kind of ["pointerup", "pointercancel", "pointerleave"]) this.svg.addEventListener(kind, (event) => this.pointers.delete(event.pointerId));
  }

  drag(event) {
    const was = this.pointers.get(event.pointerId);
    if (!was) return;
    const now = [event.clientX, event.clientY];
    if (this.pointers.size === 2) {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
      const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
      const box = this.svg.getBoundingClientRect();
      this.zoom(apart(now) / apart(was), (now[0] + other[0]) / 2 - box.left, (now[1] + other[1]) / 2 - box.top);
    } else this.move(now[0] - was[0], now[1] - was[1]);
    this.dragged += Math.abs(now[0] - was[0]) + Math.abs(now[1] - was[1]);
    if (this.dragged > 4 && !this.svg.hasPointerCapture(event.pointerId)) this.svg.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, now);
  }

  move(dx, dy) {
    this.place(this.x + dx, this.y + dy, this.scale);
  }

  zoom(factor, x = this.svg.clientWidth / 2, y = this.svg.clientHeight / 2) {
    const scale = Math.min(3, Math.max(0.02, this.scale * factor));
    const ratio = scale / this.scale;
    this.place(x - (x - this.x) * ratio, y - (y - this.y) * ratio, scale);
  }

  place(x, y, scale, quietly = false) {
    Object.assign(this, { x, y, scale });
    this.layer.setAttribute("transform", `translate(${x},${y}) scale(${scale})`);
    if (!quietly) this.onMove?.(this);
  }

  fit() {
    const { width, height } = this.size ?? { width: 1, height: 1 };
    const scale = Math.min(1.2, this.svg.clientWidth / width, this.svg.clientHeight / height);
    // A long graph is shown from its top, at a size that can be read.
    const shown = Math.max(scale, Math.min(0.8, this.svg.clientWidth / width));
    this.place((this.svg.clientWidth - width * shown) / 2, shown > scale ? 8 : (this.svg.clientHeight - height * shown) / 2, shown);
  }

  whole() {
    const { width, height } = this.size ?? { width: 1, height: 1 };
    const scale = Math.min(1.2, this.svg.clientWidth / width, this.svg.clientHeight / height);
    this.place((this.svg.clientWidth - width * scale) / 2, (this.svg.clientHeight - height * scale) / 2, scale);
  }

  centre(id) {
    const at = this.positions?.get(id);
    if (at) this.place(this.svg.clientWidth / 2 - at.x * this.scale, this.svg.clientHeight / 2 - at.y * this.scale, this.scale);
  }

  screenY(id) {
    const at = this.positions?.get(id);
    return at && this.y + at.y * this.scale;
  }

  // Draw items {id, label, detail, state, kind, hue, alike} at their places, and edges among them.
  show(found, items, edges, { selected, matches, onPick, onOpen }) {
    const shown = new Map(items.map((item) => [item.id, item]));
    const { moved, width, height } = compacted(found, (id) => shown.has(id));
    this.size = { width, height };
    this.positions = new Map();
    const lines = found.edges
      .filter(({ from, to }) => edges.has(`${from}>${to}`))
      .map(({ from, to, points }) => s("path", { class: `edge ${edges.get(`${from}>${to}`)}`, d: curve(points, moved), "marker-end": `url(#${this.arrow})` }));
    const boxes = [];
    for (const place of found.items) {
      const item = shown.get(place.id);
      if (!item) continue;
      const at = { x: place.x, y: moved(place.y), width: place.width, height: place.height };
      this.positions.set(place.id, at);
      boxes.push(this.box(item, at, { selected, matches, onPick, onOpen }));
    }
    this.layer.replaceChildren(s("g", { class: "edges" }, lines), s("g", { class: "boxes" }, boxes));
  }

  box(item, { x, y, width, height }, { selected, matches, onPick, onOpen }) {
    const classes = ["box", item.kind, item.state, item.id === selected ? "selected" : "", matches?.has(item.id) ? "match" : ""];
    const pick = () => this.dragged > 4 || onPick(item);
    const label = plain(item.label, MOST_CHARS);
    return s(
      "g",
      {
        class: classes.filter(Boolean).join(" "), transform: `translate(${x - width / 2},${y - height / 2})`, "data-id": item.id,
        role: "button", tabindex: item.id === selected ? 0 : -1, "aria-label": `${label} ${plain(item.name ?? "", 60)} ${item.state ?? ""}`,
        onclick: pick, ondblclick: () => onOpen(item),
      },
      s("rect", { width, height, rx: item.kind === "io" ? height / 2 : 5 }),
      item.hue === undefined ? null : s("rect", { class: "stripe", width: 5, height, rx: 2, fill: `hsl(${item.hue} 60% 50%)` }),
      s("text", { x: width / 2 + 2, y: item.detail ? 15 : height / 2 + 4, class: "label" }, label),
      item.detail ? s("text", { x: width / 2 + 2, y: 28, class: "detail" }, plain(item.detail, MOST_CHARS + 4)) : null,
      s("title", {}, `${label} ${plain(item.name ?? "", 200)}`),
    );
  }
}

// The whole graph in small, and what of it is seen.
class Minimap {
  constructor(onGo) {
    this.canvas = h("canvas", { class: "minimap", width: 120, height: 160, "aria-hidden": "true" });
    const go = (event) => {
      if (event.type === "pointermove" && !event.buttons) return;
      const box = this.canvas.getBoundingClientRect();
      onGo((event.clientX - box.left - this.left) / this.ratio, (event.clientY - box.top) / this.ratio);
    };
    this.canvas.addEventListener("pointerdown", go);
    this.canvas.addEventListener("pointermove", go);
  }

  show(drawing, states) {
    if (!drawing.size) return;
    const style = getComputedStyle(document.documentElement);
    const pen = this.canvas.getContext("2d");
    this.ratio = Math.min(this.canvas.width / drawing.size.width, this.canvas.height / drawing.size.height);
    this.left = (this.canvas.width - drawing.size.width * this.ratio) / 2;
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    for (const [id, at] of drawing.positions) {
      const state = states.get(id);
      pen.fillStyle = style.getPropertyValue(state ? `--${state}` : "--line");
      const [w, t] = [Math.max(1.5, at.width * this.ratio), Math.max(1, at.height * this.ratio)];
      pen.fillRect(this.left + at.x * this.ratio - w / 2, at.y * this.ratio - t / 2, w, t);
    }
    pen.strokeStyle = style.getPropertyValue("--accent");
    const view = [-drawing.x, -drawing.y, drawing.svg.clientWidth, drawing.svg.clientHeight].map((side) => (side / drawing.scale) * this.ratio);
    pen.strokeRect(this.left + view[0], view[1], view[2], view[3]);
  }
}
