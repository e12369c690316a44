"use strict";
// One point of a comparison: its metrics side by side, with the intervals that were decided on.

const MAX_INTERVALS = 40;
/** Rows of the table at first. */
const CHANGES_SHOWN = 14;

/**
 * The point of the address, else the first one that is worse, else the first one.
 * @param {ComparisonData} comparison
 * @param {Address["query"]} query
 */
function comparedPointSection(comparison, query) {
  const { points, matrix } = comparison;
  const isWorse = (/** @type {PointChange} */ { metrics }) =>
    metrics.some(({ is_main, change }) => is_main && change === "worse");
  const first = Math.max(0, points.findIndex(isWorse));
  const point = points[Number(query.point ?? first)] ?? points[first];
  return element(
    "section",
    { id: "point" },
    element("h2", {}, point.label, point.suspect ? [" ", verdictBadge("SUSPECT")] : ""),
    filterForm(
      filterSelect(
        "point",
        "Point",
        points.map((_, i) => [String(i), matrix.rows[i].name]),
        String(first),
      ),
      filterSelect("show", "Show", CHANGE_FILTERS),
    ),
    point.invalid ? element("p", { class: "worse" }, `INVALID: the ${point.invalid} has no usable run.`) : null,
    factList([
      ["Base", comparedRuns(comparison.benchmarks, point.base)],
      ["Candidate", comparedRuns(comparison.benchmarks, point.candidate)],
    ]),
    comparison.points.length > 1 ? textList("Why", point.why) : null,
    textList("What else differs", [...point.differences, ...point.notes]),
    point.missing.length ? mutedParagraph(`Not measured by the candidate: ${point.missing.join(", ")}`) : null,
    point.metrics.length ? changesOfPoint(point.metrics.filter(changeFilter(query.show, point.metrics))) : null,
  );
}

/** @param {MetricChange[]} metrics */
function changesOfPoint(metrics) {
  announce(`${metrics.length} metrics`);
  return metrics.length ? [intervalChart(metrics), changeTable(metrics)] : element("p", {}, "No metric matches.");
}

/**
 * Whether a metric is shown. Without main metrics "main" shows all.
 * @param {string | undefined} show
 * @param {MetricChange[]} metrics
 * @returns {(metric: MetricChange) => boolean}
 */
function changeFilter(show, metrics) {
  if (show === "all" || (!show && !metrics.some(({ is_main }) => is_main))) return () => true;
  if (!show) return ({ is_main }) => is_main;
  const wanted = show === "changed" ? CHANGED : [show];
  return ({ change }) => wanted.includes(change);
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
  return chartFigure("Change with its interval", () => intervalOption(rows), {
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
  const colour = (/** @type {ChangeInterval} */ { change }) => themeColour(changeColour(change));
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
    yAxis: nameAxis(rows.map(({ metric }) => metric)),
    tooltip: pointTooltip(({ value }) => intervalTooltip(rows[value[1]])),
    series: [
      ...intervals,
      {
        type: "scatter",
        data: rows.map((row, i) => ({ value: [clip(row.ratio), i], itemStyle: { color: colour(row) } })),
        symbolSize: 9,
        markLine: zeroLine(),
      },
    ],
  };
}

/**
 * The name of the colour of a verdict.
 * @param {string} change
 */
function changeColour(change) {
  if (!CHANGED.includes(change)) return "--muted";
  return change.endsWith("better") ? "--better" : "--worse";
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
    `${formatPercent(row.ratio)}, interval: ${formatPercent(row.low)} to ${formatPercent(row.high)}`,
    `${formatNumber(row.base)} → ${formatFigure(row.candidate, row.unit)}`,
    row.verdict_text,
  ];
}

/** @param {MetricChange[]} metrics */
function changeTable(metrics) {
  /** @type {Column<MetricChange>[]} */
  const columns = [
    { name: "Metric", head: true, sort: (row) => row.metric, cell: (row) => row.metric },
    { name: "Base", numeric: true, value: (row) => row.base, cell: (row) => formatNumber(row.base) },
    { name: "Candidate", numeric: true, value: (row) => row.candidate, cell: (row) => formatNumber(row.candidate) },
    { name: "Unit", cell: (row) => `${row.unit} ${directionArrow(row)}` },
    {
      name: "Change",
      numeric: true,
      sort: (row) => row.ratio,
      cell: (row) => formatPercent(row.ratio),
      shade: (row) => CHANGE_SHADES[row.change] ?? "",
    },
    {
      name: "Interval",
      numeric: true,
      cell: ({ low, high }) => (low === null ? "–" : `${formatPercent(low)} to ${formatPercent(high)}`),
    },
    {
      name: "Verdict",
      sort: (row) => row.change,
      cell: (row) => element("span", { class: row.change }, row.verdict_text),
    },
  ];
  return dataTable("Metrics side by side", columns, metrics, { shown: CHANGES_SHOWN });
}
