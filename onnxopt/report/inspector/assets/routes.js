// Where things lie when only some of them are shown, and the lines between them.

const GAP = 26; // between rows
const LANE = 7; // between lines that run beside one another

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
    if (row.used) next += row.height / 2 + GAP;
  }
  return { moved: (y) => between(sorted, y), height: next };
}

// The new y of an old one, also between two rows.
function between(rows, y) {
  let [low, high] = [0, rows.length - 1];
  if (!rows.length) return y;
  if (y <= rows[0].y) return rows[0].to + y - rows[0].y;
  if (y >= rows[high].y) return rows[high].to + y - rows[high].y;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (rows[middle].y <= y) low = middle;
    else high = middle;
  }
  const share = (y - rows[low].y) / (rows[high].y - rows[low].y);
  return rows[low].to + share * (rows[high].to - rows[low].to);
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

// Finds ways for lines that the layout did not place: straight down where that is free, else in the nearest free lane.
class Lanes {
  constructor(boxes) {
    this.boxes = [...boxes].sort((a, b) => a.y - b.y);
    this.taken = [];
    this.left = Math.min(0, ...this.boxes.map((box) => box.x - box.width / 2));
    this.right = Math.max(0, ...this.boxes.map((box) => box.x + box.width / 2));
  }

  // Lines from one source share a lane.
  path(source, from, to) {
    const [top, bottom] = [from.y + from.height / 2, to.y - to.height / 2];
    const blocked = this.blocked(source, top, bottom);
    const isFree = (x) => !blocked.some(([left, right]) => x > left && x < right);
    if (isFree(from.x) && isFree(to.x) && isFree((from.x + to.x) / 2)) return curve([{ x: from.x, y: top }, { x: to.x, y: bottom }], (y) => y);
    const middle = (from.x + to.x) / 2;
    const lanes = blocked.flat().filter(isFree);
    const lane = lanes.reduce((best, x) => (Math.abs(x - middle) < Math.abs(best - middle) ? x : best), lanes[0]);
    this.taken.push({ source, x: lane, top, bottom });
    [this.left, this.right] = [Math.min(this.left, lane), Math.max(this.right, lane)];
    return this.around(from, to, lane, top, bottom);
  }

  around(from, to, lane, top, bottom) {
    const bend = Math.max(4, Math.min(GAP, (bottom - top) / 2));
    // It leaves and arrives on the side of its lane, so that it is told from the straight line.
    const towards = (box) => box.x + Math.max(-0.3, Math.min(0.3, (lane - box.x) / box.width)) * box.width;
    const [x1, x2] = [towards(from), towards(to)];
    return `M${x1},${top}C${x1},${top + bend * 0.8} ${lane},${top + bend * 0.2} ${lane},${top + bend}L${lane},${bottom - bend}C${lane},${bottom - bend * 0.2} ${x2},${bottom - bend * 0.8} ${x2},${bottom}`;
  }

  // What of the width no line can pass between two heights, with room beside it.
  blocked(source, top, bottom) {
    const boxes = this.boxes.slice(this.firstBelow(top), this.firstBelow(bottom)).filter((box) => box.y + box.height / 2 > top + 1 && box.y - box.height / 2 < bottom - 1);
    const lanes = this.taken.filter((lane) => lane.source !== source && lane.top < bottom && lane.bottom > top);
    return [...boxes.map((box) => [box.x - box.width / 2 - 10, box.x + box.width / 2 + 10]), ...lanes.map(({ x }) => [x - LANE, x + LANE])];
  }

  firstBelow(y) {
    let [low, high] = [0, this.boxes.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.boxes[middle].y < y) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
