// The graph as a picture that is dragged, zoomed and clicked.

const READABLE = 0.8; // the scale at which labels can still be read

class Drawing {
  constructor(label, onMove) {
    this.scale = 1;
    this.x = this.y = 0;
    this.onMove = onMove;
    this.layer = s("g");
    this.arrow = `arrow-${label}`;
    const tip = s("marker", {
      id: this.arrow, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, markerUnits: "userSpaceOnUse", orient: "auto",
    }, s("path", { d: "M0,0L8,4L0,8z" }));
    this.svg = s("svg", { class: "graph", role: "group", "aria-label": `graph, ${label}: arrow keys go from node to node`, tabindex: 0 }, s("defs", {}, tip), this.layer);
    this.caption = h("div", { class: "caption" }, label);
    this.element = h("div", { class: "pane" }, this.svg, this.caption);
    this.pointers = new Map();
    this.positions = new Map(); // where each item that is drawn is
    this.listen();
  }

  listen() {
    this.svg.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.svg.addEventListener("pointerdown", (event) => {
      this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
      this.dragged = 0;
    });
    this.svg.addEventListener("pointermove", (event) => this.drag(event));
    for (const kind of ["pointerup", "pointercancel", "pointerleave"]) this.svg.addEventListener(kind, (event) => this.pointers.delete(event.pointerId));
  }

  wheel(event) {
    event.preventDefault();
    const box = this.svg.getBoundingClientRect();
    if (event.shiftKey) this.move(-event.deltaY, 0);
    else this.zoom(Math.exp(-event.deltaY * 0.0016), event.clientX - box.left, event.clientY - box.top);
  }

  drag(event) {
    const was = this.pointers.get(event.pointerId);
    if (!was) return;
    const now = [event.clientX, event.clientY];
    if (this.pointers.size === 2) this.pinch(event.pointerId, was, now);
    else this.move(now[0] - was[0], now[1] - was[1]);
    this.dragged += Math.abs(now[0] - was[0]) + Math.abs(now[1] - was[1]);
    if (this.dragged > 4 && !this.svg.hasPointerCapture(event.pointerId)) this.svg.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, now);
  }

  pinch(pointer, was, now) {
    const other = [...this.pointers].find(([id]) => id !== pointer)[1];
    const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
    const box = this.svg.getBoundingClientRect();
    this.zoom(apart(now) / apart(was), (now[0] + other[0]) / 2 - box.left, (now[1] + other[1]) / 2 - box.top);
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

  // The scale at which all is seen.
  wholeScale() {
    const { width, height } = this.size ?? { width: 1, height: 1 };
    return Math.min(1.2, this.svg.clientWidth / width, this.svg.clientHeight / height);
  }

  // A long graph is shown from its top, at a size that can be read.
  fit() {
    const whole = this.wholeScale();
    const wide = this.svg.clientWidth / (this.size?.width ?? 1);
    this.showAt(Math.max(whole, Math.min(READABLE, Math.max(wide, 0.4))), 8);
  }

  whole() {
    this.showAt(this.wholeScale());
  }

  // All of the width at a scale, from the top or in the middle.
  showAt(scale, top) {
    const { left, width, height } = this.size ?? { left: 0, width: 1, height: 1 };
    const room = this.svg.clientHeight - height * scale;
    this.place((this.svg.clientWidth - width * scale) / 2 - left * scale, room >= 0 || top === undefined ? room / 2 : top, scale);
  }

  // A place of the picture in the middle.
  centreOn(x, y) {
    this.place(this.svg.clientWidth / 2 - x * this.scale, this.svg.clientHeight / 2 - y * this.scale, this.scale);
  }

  // An item in the middle; a picture that ends before the middle keeps its end at the edge.
  centre(id) {
    const at = this.positions.get(id);
    if (!at) return;
    const { clientWidth, clientHeight } = this.svg;
    const bottom = clientHeight - this.size.height * this.scale;
    const y = clientHeight / 2 - at.y * this.scale;
    this.place(clientWidth / 2 - at.x * this.scale, bottom >= 0 ? bottom / 2 : Math.min(8, Math.max(bottom - 8, y)), this.scale);
  }

  // What of the picture is seen: x, y, width, height.
  seen() {
    return [-this.x, -this.y, this.svg.clientWidth, this.svg.clientHeight].map((side) => side / this.scale);
  }

  seesAll() {
    const [x, y, width, height] = this.seen();
    return this.size.left >= x - 1 && this.size.left + this.size.width <= x + width + 1 && y <= 17 && this.size.height - GAP <= y + height;
  }

  sees(id) {
    const at = this.positions.get(id);
    const [x, y, width, height] = this.seen();
    return Boolean(at) && at.x > x && at.x < x + width && at.y > y && at.y < y + height;
  }

  screenY(id) {
    const at = this.positions.get(id);
    return at && this.y + at.y * this.scale;
  }

  // The item nearest to the middle of what is seen.
  middle() {
    const [x, y, width, height] = this.seen();
    const away = ([, at]) => Math.hypot(at.x - x - width / 2, at.y - y - height / 2);
    return [...this.positions].reduce((best, one) => (best && away(best) <= away(one) ? best : one), null)?.[0];
  }

  // Draw items {id, label, detail, state, kind, hue, opens, frames} at their places, and the lines of `edges` among them.
  // `isShown` tells which items take room, here or in the picture beside this one.
  show(found, { items, edges, isShown }, acts) {
    const shown = new Map(items.map((item) => [item.id, item]));
    const { moved, height } = compacted(found, isShown);
    this.positions = new Map();
    for (const place of found.items) if (shown.has(place.id)) this.positions.set(place.id, { ...place, y: moved(place.y) });
    const lanes = new Lanes(this.positions.values());
    const lines = found.edges.filter(({ from, to }) => edges.has(`${from}>${to}`)).map((edge) => this.line(edge, edges, lanes, moved, acts.selected));
    const frames = framesOf(items, this.positions).map((frame) => frameElement(frame, acts));
    const onPick = (item) => this.dragged > 4 || acts.onPick(item);
    const near = new Set([...edges.keys()].map((edge) => edge.split(">")).filter((ends) => ends.includes(acts.selected)).flat());
    const drawn = items.filter((item) => this.positions.has(item.id));
    const boxes = drawn.map((item) => boxElement(item, this.positions.get(item.id), { ...acts, near, onPick }));
    const hadFocus = this.layer.querySelector(":focus-visible"); // by key: a click leaves no ring
    this.size = { left: lanes.left - 16, width: lanes.right - lanes.left + 32, height };
    this.layer.replaceChildren(s("g", { class: "frames" }, frames), s("g", { class: "edges" }, lines), s("g", { class: "boxes" }, boxes));
    if (hadFocus) (this.layer.querySelector(".selected") ?? this.svg).focus({ preventScroll: true });
  }

  line({ from, to, points, faint }, edges, lanes, moved, selected) {
    const isLit = from === selected || to === selected;
    const [one, other] = [this.positions.get(from), this.positions.get(to)];
    if (!one || !other || (faint && !isLit)) return null;
    const d = points ? curve(points, moved) : lanes.path(from, one, other);
    const kind = ["edge", edges.get(`${from}>${to}`), isLit ? "lit" : ""].filter(Boolean).join(" ");
    return s("path", { class: kind, d, "marker-end": `url(#${this.arrow})` });
  }
}
