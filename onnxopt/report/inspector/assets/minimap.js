// The whole graph in small beside the picture, and what of it is seen.

class Minimap {
  constructor(onGo) {
    this.canvas = h("canvas", { class: "minimap", "aria-hidden": "true" });
    const go = (event) => {
      if (event.type === "pointermove" && !event.buttons) return;
      const box = this.canvas.getBoundingClientRect();
      onGo((event.clientX - box.left - this.left) / this.ratio, (event.clientY - box.top - this.top) / this.ratio);
    };
    this.canvas.addEventListener("pointerdown", go);
    this.canvas.addEventListener("pointermove", go);
  }

  show(drawing, states) {
    this.canvas.hidden = !drawing.size || drawing.seesAll();
    if (this.canvas.hidden || !this.fits(drawing.size)) return;
    const style = getComputedStyle(document.documentElement);
    const pen = this.canvas.getContext("2d");
    pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    for (const [id, at] of drawing.positions) {
      const state = states.get(id);
      pen.fillStyle = style.getPropertyValue(state && state !== "kept" ? `--${state}` : "--kept");
      const [w, t] = [Math.max(2, at.width * this.ratio), Math.max(1, at.height * this.ratio)];
      pen.fillRect(this.left + at.x * this.ratio - w / 2, this.top + at.y * this.ratio - t / 2, w, t);
    }
    pen.strokeStyle = style.getPropertyValue("--accent");
    pen.lineWidth = 1.5;
    const [x, y, w, t] = drawing.seen().map((side) => side * this.ratio);
    const [left, right] = [Math.max(1, this.left + x), Math.min(this.width - 1, this.left + x + w)];
    pen.strokeRect(left, this.top + y, right - left, t);
  }

  // Its own size in pixels, and how much smaller the picture is in it; false where it is not displayed.
  fits({ left, width, height }) {
    [this.width, this.height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    if (!this.width || !this.height) return false;
    [this.canvas.width, this.canvas.height] = [this.width * devicePixelRatio, this.height * devicePixelRatio];
    this.ratio = Math.min(this.width / width, this.height / height);
    this.left = (this.width - width * this.ratio) / 2 - left * this.ratio;
    this.top = Math.max(0, (this.height - height * this.ratio) / 2);
    return true;
  }
}
