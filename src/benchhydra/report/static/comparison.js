"use strict";
// The page of what changed from a base to a candidate: the verdicts of `benchhydra compare`, the most telling first.

/** @type {[value: string, text: string][]} */
const CHANGE_FILTERS = [
  ["", "main metrics"],
  ["all", "all metrics"],
  ["changed", "what changed"],
  ["worse", "worse"],
  ["probably_worse", "probably worse"],
  ["probably_better", "probably better"],
  ["better", "better"],
  ["inconclusive", "inconclusive"],
  ["same", "same"],
];
/** What "what changed" shows. */
const CHANGED = ["worse", "probably_worse", "better", "probably_better"];
/** The class of a cell's colour by the verdict. @type {Record<string, string>} */
const CHANGE_SHADES = { better: "best", probably_better: "good", probably_worse: "bad", worse: "worst" };

/** @type {Page} */
async function comparisonPage({ query }) {
  if (!reportIndex.comparison)
    throw new Error("this report compares nothing: benchhydra report BASE CANDIDATE --compare -o DIR");
  const comparison = await loadPiece("comparison");
  return [
    pageHeading("What changed"),
    comparison.headline
      ? element("p", { class: comparison.exit_code ? "headline worse" : "headline" }, comparison.headline)
      : null,
    textList("Definitions of the two engines", comparison.definitions),
    comparison.problems.length > 1 ? textList("Problems", comparison.problems) : null,
    factList([
      ["Base", comparison.base],
      ["Candidate", comparison.candidate],
      ["What is compared", comparison.sides],
      ["Metrics", changeCounts(comparison.counts)],
    ]),
    comparison.points.length ? null : element("p", {}, "No point is in both sources."),
    comparison.matrix.metrics.length ? comparisonMatrix(comparison) : null,
    textList("Remarks", comparison.remarks),
    explanationSection(comparison),
    comparisonCurves(comparison),
    comparison.points.length ? comparedPointSection(comparison, query) : null,
    unmatchedPoints("Only in the base", comparison.only_base),
    unmatchedPoints("Only in the candidate", comparison.only_candidate),
    mutedParagraph(
      `"Better" and "worse" take an effect that matters and evidence that it is not noise; the limits are set for a false alarm among the main metrics in ${comparison.false_alarm_percent} % of comparisons, in each direction.`,
    ),
  ];
}

/** @param {Record<string, number>} counts */
function changeCounts(counts) {
  return Object.entries(counts).map(([change, count], i) => [
    i ? ", " : "",
    element("span", { class: count ? change : "muted" }, `${count} ${change.replaceAll("_", " ")}`),
  ]);
}

/**
 * @param {string} title
 * @param {string[]} labels
 */
function unmatchedPoints(title, labels) {
  if (!labels.length) return null;
  return [
    element("h2", {}, title),
    element(
      "ul",
      {},
      labels.map((label) => element("li", {}, label)),
    ),
  ];
}

/**
 * Points by main metrics: the decision at one glance. A point leads to its intervals below.
 * @param {ComparisonData} comparison
 */
function comparisonMatrix({ matrix }) {
  const rows = matrix.rows.map((row, i) => ({ ...row, i }));
  /** @type {Column<typeof rows[number]>[]} */
  const columns = [
    {
      name: "Point",
      head: true,
      cell: ({ name, i }) =>
        link(pageAddress(["comparison"], { ...currentAddress().query, point: String(i) }), name, {
          onclick: scrollToPoint,
        }),
    },
    ...matrix.metrics.map(matrixColumn),
  ];
  return [
    dataTable("Change of the main metrics in percent, by point", columns, rows, { class: "matrix" }),
    mutedParagraph(matrix.legend, matrix.equal ? element("br", {}) : "", matrix.equal),
  ];
}

/**
 * @param {ComparisonData["matrix"]["metrics"][number]} metric
 * @param {number} i
 * @returns {Column<ComparisonData["matrix"]["rows"][number]>}
 */
function matrixColumn({ name, head }, i) {
  const metric = reportIndex.metrics[name];
  return {
    name: head.join(" "),
    unit: `% ${directionArrow(metric)}`,
    title: `${name}: ${metric.doc} (${directionWords(metric)})`,
    numeric: true,
    value: ({ cells }) => cells[i].percent,
    cell: ({ cells }) => element("span", { class: cells[i].change }, cells[i].text),
    shade: ({ cells }) => CHANGE_SHADES[cells[i].change] ?? "",
  };
}

/** The chosen point is shown below; the page stays where it is otherwise. */
function scrollToPoint() {
  setTimeout(() => document.getElementById("point")?.scrollIntoView({ block: "start" }), 100); // once it is drawn
}
