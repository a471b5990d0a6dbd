// What the picture is made of: boxes of nodes and blocks, frames around open blocks, lines.

const CHAR = 6.6; // about the width of a character of a node's label, in pixels
const MOST_CHARS = 26;
const TOOL = 15; // the button of a box that can be opened

function boxOf(label, detail) {
  const chars = Math.min(MOST_CHARS, Math.max(label.length, detail.length * 0.86, 5));
  return { width: Math.round(chars * CHAR + 26), height: detail ? 36 : 24 };
}

// A node, a closed block, an input or an output.
function boxElement(item, { x, y, width, height }, { selected, near, matches, onPick, onOpen }) {
  const classes = ["box", item.kind, item.state, near.has(item.id) ? "near" : "", item.id === selected ? "selected" : "", matches?.has(item.id) ? "match" : ""];
  const label = plain(item.label, MOST_CHARS);
  const called = [label, plain(item.name ?? "", 60), item.state].filter(Boolean).join(", ");
  return s(
    "g",
    {
      class: classes.filter(Boolean).join(" "), transform: `translate(${x - width / 2},${y - height / 2})`, "data-id": item.id,
      role: "button", tabindex: item.id === selected ? 0 : -1, "aria-label": called, onclick: () => onPick(item), ondblclick: () => onOpen(item),
    },
    s("rect", { class: "body", width, height, rx: item.kind === "io" ? height / 2 : 5 }),
    stripe(item, height),
    s("text", { x: width / 2 + 2, y: item.detail ? 15 : height / 2 + 4, class: "label" }, label),
    item.detail ? s("text", { x: width / 2 + 2, y: 28, class: "detail" }, plain(item.detail, MOST_CHARS + 4)) : null,
    item.opens ? opener(item, width, onOpen) : null,
    s("title", {}, `${label} ${plain(item.name ?? "", 200)}`),
  );
}

// The colour of the operator's kind; of a block, that of its letter, the same for all that are alike.
function stripe(item, height) {
  const hue = item.letter ? hueOfLetter(item.letter) : item.hue;
  return hue === undefined ? null : s("rect", { class: "stripe", width: 5, height, rx: 2, fill: `hsl(${hue} 60% 50%)` });
}

// Steps of the golden angle: neighbours in the alphabet are far apart in colour.
function hueOfLetter(letter) {
  return Math.round((letter.charCodeAt(0) - 65 + 26 * (letter.length - 1)) * 137.5 + 200) % 360;
}

function opener(item, width, onOpen) {
  const open = (event) => {
    event.stopPropagation();
    onOpen(item);
  };
  return s("g", { class: "tool", role: "button", "aria-label": item.opens, transform: `translate(${width - TOOL / 2 - 1},${-TOOL / 2 + 3})`, onclick: open },
    s("circle", { r: TOOL / 2 }), s("path", { d: "M-4,0H4M0,-4V4" }), s("title", {}, item.opens));
}

// Around each open block the room that its items take, outer ones first.
function framesOf(items, positions) {
  const found = new Map();
  for (const item of items) {
    const at = positions.get(item.id);
    item.frames.forEach((block) => {
      const frame = found.get(block.id) ?? { block, left: Infinity, right: -Infinity, top: Infinity, bottom: -Infinity, count: 0 };
      Object.assign(frame, {
        left: Math.min(frame.left, at.x - at.width / 2), right: Math.max(frame.right, at.x + at.width / 2),
        top: Math.min(frame.top, at.y - at.height / 2), bottom: Math.max(frame.bottom, at.y + at.height / 2), count: frame.count + 1,
      });
      found.set(block.id, frame);
    });
  }
  return [...found.values()].filter((frame) => frame.count > 1);
}

// The frame of an open block, and on it what closes the block again.
function frameElement(frame, { onClose, titleOf }) {
  const { block, left, top, right, bottom } = frame;
  const pad = block.children ? 16 : 9;
  const close = () => onClose(block);
  const label = plain(titleOf(block), Math.max(4, Math.floor((right - left) / 5.5)));
  const title = s("title", {}, `collapse these ${likeText(block)}`);
  const place = `translate(${left - pad},${top - pad})`;
  const tab = s("g", { class: "tool", role: "button", tabindex: -1, "aria-label": `collapse ${label}`, transform: place, onclick: close },
    s("circle", { r: TOOL / 2 }), s("path", { d: "M-4,0H4" }), title);
  const letter = block.letter ? { fill: `hsl(${hueOfLetter(block.letter)} 60% 50%)`, class: "ground known" } : { class: "ground" };
  return s("g", { class: "frame" },
    s("rect", { x: left - pad, y: top - pad, width: right - left + 2 * pad, height: bottom - top + 2 * pad, rx: 8, ...letter }),
    s("text", { x: left - pad + 11, y: top - pad + 3.5 }, label), tab);
}
