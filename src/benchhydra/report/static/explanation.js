"use strict";
// Why latencies changed: each change as a bar of the parts that add up to it, a bar for each point.

/**
 * The colours of the parts, in the order of a request's way; the last two are those that the client alone tells apart.
 * @type {Record<string, string>}
 */
const PART_COLOURS = {
  queue: "--c2",
  prefill: "--c1",
  decode: "--c3",
  frontend: "--c4",
  outside: "--c5",
  "first token": "--c6",
  "other tokens": "--c8",
};
const BAR_HEIGHT = 26;

/** The change of one latency at one point. @typedef {{ point: string, explanation: Explanation }} ExplainedPoint */

/** @param {ComparisonData} comparison */
function explanationSection({ why, points, matrix }) {
  if (!why.length) return null;
  /** @type {Map<string, ExplainedPoint[]>} */
  const byMetric = new Map();
  points.forEach((point, i) => {
    for (const explanation of point.explanation) {
      const rows = byMetric.get(explanation.metric) ?? [];
      byMetric.set(explanation.metric, [...rows, { point: matrix.rows[i].name, explanation }]);
    }
  });
  return [
    element("h2", {}, "Why"),
    element(
      "ul",
      { class: "changes" },
      why.map((line) => element("li", {}, line)),
    ),
    element(
      "div",
      { class: "charts" },
      [...byMetric].map(([metric, rows]) => explanationChart(metric, rows)),
    ),
  ];
}

/**
 * @param {string} metric
 * @param {ExplainedPoint[]} rows
 */
function explanationChart(metric, rows) {
  const names = Object.keys(PART_COLOURS).filter((name) => rows.some((row) => changeOfPart(row, name) !== null));
  const fromBelow = [...rows].reverse(); // a vertical axis counts upwards
  const makeOption = () => ({
    grid: chartGrid({ top: 8, left: 8 }),
    xAxis: chartAxis("change, ms"),
    yAxis: nameAxis(fromBelow.map(({ point }) => point)),
    tooltip: pointTooltip(({ dataIndex }) => explanationTooltip(fromBelow[dataIndex])),
    series: [...names.map((name) => partBars(fromBelow, name)), changeMarks(fromBelow)],
  });
  return chartFigure(`Change of ${metricTitle(metric)} by its parts`, makeOption, {
    height: 66 + BAR_HEIGHT * rows.length,
    legend: [
      ...names.map((name) => ({ name, colour: PART_COLOURS[name], isPoint: true })),
      { name: "change", colour: "--text", isPoint: true },
    ],
    label: rows.map(({ point, explanation }) => `${point}: ${formatFigure(explanation.change_ms, "ms")}`).join("; "),
  });
}

/**
 * @param {ExplainedPoint} row
 * @param {string} name
 */
function changeOfPart({ explanation }, name) {
  return explanation.parts.find((part) => part.name === name)?.change_ms ?? null;
}

/**
 * @param {ExplainedPoint[]} rows
 * @param {string} name
 * @returns {ChartSeries}
 */
function partBars(rows, name) {
  return {
    type: "bar",
    name,
    stack: "parts",
    barWidth: 14,
    data: rows.map((row) => changeOfPart(row, name)),
    itemStyle: { color: themeColour(PART_COLOURS[name]) },
  };
}

/**
 * The changes themselves, where the bars should end.
 * @param {ExplainedPoint[]} rows
 * @returns {ChartSeries}
 */
function changeMarks(rows) {
  return {
    type: "scatter",
    name: "change",
    symbol: "diamond",
    symbolSize: 9,
    itemStyle: { color: themeColour("--text") },
    data: rows.map(({ explanation }, i) => [explanation.change_ms, i]),
    markLine: zeroLine(),
  };
}

/** @param {ExplainedPoint} row */
function explanationTooltip({ point, explanation }) {
  return [
    `${point}: ${formatFigure(explanation.change_ms, "ms")}`,
    ...explanation.parts.map(({ name, change_ms, low_ms, high_ms }) => {
      const interval = low_ms === null ? "" : ` (${formatNumber(low_ms)} to ${formatNumber(high_ms)})`;
      return `${name}: ${formatNumber(change_ms)} ms${interval}`;
    }),
    !explanation.adds_up && "the parts do not add up to within 5 %",
    ...explanation.moved.map(
      ({ name, unit, base, candidate }) => `${name}: ${formatNumber(base)} → ${formatFigure(candidate, unit)}`,
    ),
  ];
}
