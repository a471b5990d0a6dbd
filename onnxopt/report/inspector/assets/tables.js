// The tables beside the graph: operators, quantization, zeros, noise, targets' rules, accuracy.

const MOST_BROKEN = 200; // nodes that break rules of one target

function tablesPanel(story, step) {
  const { encodings = [], sparsity, noise = [], rules = {} } = story.tables;
  const warnings = (story.warnings ?? []).map((line) => h("p", { class: "warn" }, plain(line, 400)));
  return h("div", {}, [
    ...operatorsTable(story, step), ...encodingsTable(encodings), ...noiseTable(noise), ...zerosTable(sparsity),
    ...Object.entries(rules).flatMap(([target, broken]) => rulesTable(target, broken)), ...accuracyTable(story.accuracy), ...warnings,
  ]);
}

// A heading and a table under it; nothing where there are no rows.
function titled(heading, columns, rows, kind) {
  return rows.length ? [h("h3", {}, heading), table(columns, rows, kind)] : [];
}

function operatorsTable(story, step) {
  const [before, after] = [0, story.settled(step)].map((at) => story.steps[at].costs?.operators ?? {});
  const kinds = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort((a, b) => (after[b] ?? 0) - (after[a] ?? 0));
  const rows = kinds.map((kind) => [name(kind, 40), String(before[kind] ?? 0), String(after[kind] ?? 0), changed(before[kind] ?? 0, after[kind] ?? 0)]);
  return titled("Operators: input, and after this pass", ["operator", "input", "now", ""], rows);
}

function encodingsTable(encodings) {
  const rows = encodings.map((row) => [name(row.tensor, 40), row.kind, row.dtype ?? "?", row.granularity, row.scale, row.zero_point]);
  return titled("Quantization encodings of the finished graph", ["tensor", "kind", "dtype", "granularity", "scale", "zero point"], rows);
}

function noiseTable(noise) {
  const decibel = (snr) => (typeof snr === "number" ? snr.toFixed(1) : snr === "inf" ? "equal" : snr);
  const rows = noise.map((row) => [name(row.tensor, 48), row.operator, decibel(row.snr)]);
  return titled("Signal-to-noise ratio of each tensor to the input model's, dB", ["tensor", "operator", "SNR"], rows);
}

function zerosTable(sparsity) {
  const rows = (sparsity?.layers ?? []).map((row) => [name(row.layer, 48), row.operator, amount(row.elements), `${(100 * row.sparsity).toFixed(1)} %`]);
  return titled(`Zeros by layer: ${(100 * (sparsity?.sparsity ?? 0)).toFixed(1)} % of all weights`, ["layer", "operator", "weights", "zeros"], rows);
}

function rulesTable(target, broken) {
  const wrong = broken.filter((row) => row.wrong).length;
  const remarks = broken.length > wrong ? `, ${counted(broken.length - wrong, "remark")}` : "";
  const heading = h("h3", {}, `Rules of ${target} for quantized graphs: ${wrong} broken${remarks}`);
  const rows = broken.slice(0, MOST_BROKEN).map((row) => [name(row.node, 48), plain(row.reason, 400)]);
  return rows.length ? [heading, table(["node", "reason"], rows)] : [heading];
}

function accuracyTable(accuracy) {
  const plainFacts = Object.entries(accuracy ?? {}).filter(([, fact]) => ["number", "string"].includes(typeof fact));
  return titled("Accuracy", ["", ""], plainFacts.map(([key, fact]) => [key, typeof fact === "number" ? number(fact) : plain(fact)]), "facts");
}
