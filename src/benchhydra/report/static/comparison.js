"use strict";
// The page of what changed from a base to a candidate: the verdicts of `benchhydra compare`, side by side.

/** @type {Record<string, string>} */
const CHANGE_SHADES = { better: "best", worse: "worst" };
const MAX_INTERVALS = 40;

/** @type {[value: string, text: string][]} */
const CHANGE_FILTERS = [
  ["", "all metrics"],
  ["changed", "better and worse"],
  ["worse", "worse"],
  ["better", "better"],
  ["inconclusive", "inconclusive"],
  ["same", "same"],
];

/** @type {Page} */
async function comparisonPage({ query }) {
  if (!reportIndex.comparison)
    throw new Error("this report compares nothing: benchhydra report BASE CANDIDATE --compare -o DIR");
  const comparison = await loadPiece("comparison");
  const isShown = changeFilter(query.show);
  const points = comparison.points.filter(
    ({ invalid, metrics }) => !query.show || invalid !== "" || metrics.some(isShown),
  );
  announce(`${points.length} points`);
  return [
    pageHeading("What changed"),
    comparison.headline ? element("p", {}, element("strong", {}, comparison.headline)) : null,
    comparison.problems.map((problem) => element("p", { class: "worse" }, problem)),
    factList([
      ["Base", comparison.base],
      ["Candidate", comparison.candidate],
      ["Metrics", changeCounts(comparison.counts)],
    ]),
    mutedParagraph(
      `"Better" and "worse" take an effect that matters and evidence that it is not noise; the chance of any false alarm among them is at most ${comparison.false_alarm_percent} % in each direction.`,
    ),
    filterForm(filterSelect("show", "Show", CHANGE_FILTERS)),
    points.map((point) => comparedPoint(comparison, point, isShown)),
    points.length ? null : element("p", {}, "No point is in both sources, or none matches."),
    unmatchedPoints("Only in the base", comparison.only_base),
    unmatchedPoints("Only in the candidate", comparison.only_candidate),
  ];
}

/**
 * Whether a metric is shown.
 * @param {string | undefined} show
 * @returns {(metric: MetricChange) => boolean}
 */
function changeFilter(show) {
  if (!show) return () => true;
  const wanted = show === "changed" ? ["better", "worse"] : [show];
  return ({ change }) => wanted.includes(change);
}

/** @param {Record<string, number>} counts */
function changeCounts(counts) {
  return Object.entries(counts).map(([change, count], i) => [
    i ? ", " : "",
    element("span", { class: count ? change : "muted" }, `${count} ${change}`),
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
 * @param {ComparisonData} comparison
 * @param {PointChange} point
 * @param {(metric: MetricChange) => boolean} isShown
 */
function comparedPoint({ benchmarks }, point, isShown) {
  const metrics = point.metrics.filter(isShown);
  return element(
    "section",
    {},
    element("h2", {}, point.label, point.suspect ? [" ", verdictBadge("SUSPECT")] : ""),
    point.invalid ? element("p", { class: "worse" }, `INVALID: the ${point.invalid} has no usable run.`) : null,
    factList([
      ["Base", comparedRuns(benchmarks, point.base)],
      ["Candidate", comparedRuns(benchmarks, point.candidate)],
    ]),
    pointDifferences(point.differences),
    point.missing.length ? mutedParagraph(`Not measured by the candidate: ${point.missing.join(", ")}`) : null,
    metrics.length ? [intervalChart(metrics), changeTable(metrics)] : null,
  );
}

/** @param {string[]} differences */
function pointDifferences(differences) {
  if (!differences.length) return null;
  const items = differences.map((line) => element("li", {}, line));
  return element(
    "details",
    { open: differences.length <= 6 },
    element("summary", {}, `What else differs (${differences.length})`),
    element("ul", { class: "changes" }, items),
  );
}

/**
 * @param {Record<string, string>} benchmarks
 * @param {ComparedRun[]} runs
 */
function comparedRuns(benchmarks, runs) {
  return runs.map(({ run, verdict }, i) => [
    i ? " " : "",
    link(runAddress(benchmarks[run], run), `run\u00a0${i + 1}`),
    verdict === "VALID" ? "" : [" ", verdictBadge(verdict)],
  ]);
}

/** @typedef {MetricChange & { ratio: number, low: number, high: number }} ChangeInterval */

/**
 * Changes with their intervals, one row for each metric; null where no interval is known.
 * @param {MetricChange[]} metrics
 */
function intervalChart(metrics) {
  const known = metrics.filter(
    /** @returns {metric is ChangeInterval} */
    (metric) => metric.ratio !== null && metric.low !== null && metric.high !== null,
  );
  const rows = known.slice(0, MAX_INTERVALS).reverse();
  if (!rows.length) return null;
  return chartFigure("Change with its 95 % interval", () => intervalOption(rows), {
    height: 60 + 20 * rows.length,
    label: `Changes of ${rows.length} metrics; the table below has the values`,
  });
}

/**
 * @param {ChangeInterval[]} rows from bottom to top
 * @returns {ChartOption}
 */
function intervalOption(rows) {
  const limit = intervalLimit(rows);
  const clip = (/** @type {number} */ ratio) => Math.max(-limit, Math.min(limit, ratio * 100));
  const colour = (/** @type {ChangeInterval} */ { change }) =>
    themeColour(change === "better" || change === "worse" ? `--${change}` : "--muted");
  const intervals = rows.map((row, i) =>
    lineSeries(
      "interval",
      [row.low, row.high].map((ratio) => [clip(ratio), i]),
      { silent: true, symbol: "none", lineStyle: { width: 3, opacity: 0.5, color: colour(row) } },
    ),
  );
  return {
    grid: chartGrid({ top: 8, left: 8 }),
    xAxis: chartAxis("candidate against base, %", { min: -Math.ceil(limit), max: Math.ceil(limit) }),
    yAxis: {
      type: "category",
      data: rows.map(({ metric }) => metric),
      axisLabel: {
        color: themeColour("--muted"),
        fontSize: 11,
        width: Math.min(210, innerWidth * 0.3),
        overflow: "truncate",
      },
      axisTick: { show: false },
      axisLine: { lineStyle: { color: themeColour("--line") } },
    },
    tooltip: pointTooltip(({ value }) => intervalTooltip(rows[value[1]])),
    series: [
      ...intervals,
      {
        type: "scatter",
        data: rows.map((row, i) => ({ value: [clip(row.ratio), i], itemStyle: { color: colour(row) } })),
        symbolSize: 9,
        markLine: {
          silent: true,
          symbol: "none",
          label: { show: false },
          lineStyle: { color: themeColour("--muted"), type: "solid" },
          data: [{ xAxis: 0 }],
        },
      },
    ],
  };
}

/**
 * End of the axis in percent: all intervals, but no more than four times the largest change; at least 5 %.
 * @param {ChangeInterval[]} rows
 */
function intervalLimit(rows) {
  const ends = rows.flatMap(({ low, high }) => [Math.abs(low * 100), Math.abs(high * 100)]);
  const changes = rows.map(({ ratio }) => Math.abs(ratio * 100));
  return Math.max(5, Math.min(Math.max(...ends), 4 * Math.max(5, ...changes)));
}

/** @param {ChangeInterval} row */
function intervalTooltip(row) {
  return [
    row.metric,
    `${formatPercent(row.ratio)}, 95 %: ${formatPercent(row.low)} to ${formatPercent(row.high)}`,
    `${formatNumber(row.base)} → ${formatFigure(row.candidate, row.unit)}`,
    row.verdict_text,
  ];
}

/** @param {MetricChange[]} metrics */
function changeTable(metrics) {
  /** @type {Column<MetricChange>[]} */
  const columns = [
    { name: "Metric", head: true, sort: (row) => row.metric, cell: (row) => row.metric },
    { name: "Base", numeric: true, cell: (row) => formatNumber(row.base) },
    { name: "Candidate", numeric: true, cell: (row) => formatNumber(row.candidate) },
    { name: "Unit", cell: (row) => `${row.unit} ${directionArrow(row)}` },
    {
      name: "Change",
      numeric: true,
      sort: (row) => row.ratio,
      cell: (row) => formatPercent(row.ratio),
      shade: (row) => CHANGE_SHADES[row.change] ?? "",
    },
    {
      name: "95 % interval",
      numeric: true,
      cell: ({ low, high }) => (low === null ? "–" : `${formatPercent(low)} to ${formatPercent(high)}`),
    },
    {
      name: "Verdict",
      sort: (row) => row.change,
      cell: (row) => element("span", { class: row.change }, row.verdict_text),
    },
  ];
  return dataTable("Metrics side by side", columns, metrics);
}
