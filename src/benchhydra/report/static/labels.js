"use strict";
// What benchmarks, metrics, verdicts, changes and commits are called wherever they are shown.

/** @param {BenchmarkName} benchmark */
function benchmarkLabel({ script, model, dataset, load }) {
  return [script, model, dataset, load].filter(Boolean).join(" ");
}

/** @param {BenchmarkName} benchmark */
function fullBenchmarkLabel(benchmark) {
  return [benchmarkLabel(benchmark), benchmark.apart].filter(Boolean).join(" · ");
}

/**
 * The name of a run inside its sweep.
 * @param {SweepRow} row
 */
function sweepRowLabel({ name, repeat }) {
  return repeat ? `${name} repeat=${repeat}` : name;
}

/** Words of metric names that are written in capitals. */
const ACRONYMS = ["ttft", "tpot", "itl", "e2el", "gpu", "cpu", "kv", "usd"];

/**
 * The name of a metric in words: "mean_ttft_ms" is "mean TTFT".
 * @param {string} name
 */
function metricTitle(name) {
  const words = name.replace(/_(ms|w|s)$/, "").split("_");
  return words.map((word) => (ACRONYMS.includes(word) ? word.toUpperCase() : word)).join(" ");
}

/** @param {{ better: Better }} metric */
function directionArrow({ better }) {
  return { BiggerIsBetter: "↑", SmallerIsBetter: "↓", Observation: "" }[better];
}

/** @param {{ better: Better }} metric */
function directionWords({ better }) {
  return { BiggerIsBetter: "higher is better", SmallerIsBetter: "lower is better", Observation: "no direction" }[
    better
  ];
}

/**
 * The CSS class of a change: "better", "worse", or "" where it is neither.
 * @param {boolean | null | undefined} better
 */
function changeClass(better) {
  if (better === true) return "better";
  return better === false ? "worse" : "";
}

/**
 * A relative change in the colour of its direction.
 * @param {number | null} ratio
 * @param {boolean | null} better
 */
function changeLabel(ratio, better) {
  if (ratio === null) return "";
  const direction = changeClass(better);
  return element("span", { class: direction }, `${formatPercent(ratio)} ${direction}`.trim());
}

/**
 * A verdict with its colour and sign.
 * @param {string} text the verdict, and a status after a comma
 * @param {string[]} reasons shown while the pointer rests on it
 */
function verdictBadge(text, reasons = []) {
  const [verdict] = text.split(",");
  const sign = { VALID: "●", SUSPECT: "◆", INVALID: "✕" }[verdict] ?? "?";
  return element(
    "span",
    { class: `verdict ${verdict.toLowerCase()}`, title: reasons.join("\n") || null },
    element("span", { "aria-hidden": "true" }, sign),
    ` ${text}`,
  );
}

/**
 * The verdict of a benchmark's run, with its status where it did not end normally.
 * @param {RunColumns} runs
 * @param {number} run
 */
function runVerdict(runs, run) {
  return runs.status[run] === "ok" ? runs.verdict[run] : `${runs.verdict[run]}, ${runs.status[run]}`;
}

/**
 * How many runs have each verdict.
 * @param {Record<string, number>} counts
 */
function verdictCounts(counts) {
  return Object.entries(counts).map(([verdict, count]) =>
    element("span", { class: "count" }, verdictBadge(verdict), ` ${count}`),
  );
}

/** @param {string} sha */
function isCommit(sha) {
  return /^[0-9a-f]{7,40}$/i.test(sha);
}

/**
 * A commit; a link where the repository's address is known.
 * @param {string} sha
 */
function commitLabel(sha) {
  if (!sha) return "–";
  const text = element("code", {}, shortCommit(sha));
  const { repository } = reportIndex;
  return repository && isCommit(sha) ? link(`${repository}/commit/${sha}`, text) : text;
}
