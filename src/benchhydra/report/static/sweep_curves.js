"use strict";
// Curves of a sweep: Pareto fronts, metrics against its load, distributions.

/** What the statistics of a curve are called, and how their lines look. @type {[string, string, "solid" | "dashed"][]} */
const CURVE_STATISTICS = [
  ["median_", "p50", "solid"],
  ["p99_", "p99", "dashed"],
];
const MAX_DISTRIBUTIONS = 24;

/**
 * @param {SweepData} sweep
 * @param {string | undefined} wanted the trade-off of the address
 * @returns {Child}
 */
function sweepCurves(sweep, wanted) {
  const lines = [...new Set(sweep.points.map(({ line }) => line))];
  /** All charts have the same lines. */
  const legend = chartLegend(lines.map((name, i) => ({ name, colour: colourName(i) })));
  const fronts = tradeOffCharts(sweep, lines, legend, wanted);
  const curves = sweep.curves.map((curve) => curveChart(sweep, curve, lines, legend)).filter((chart) => chart !== null);
  if (!fronts && !curves.length) return mutedParagraph("Fewer than two points can be drawn.");
  return [
    lines.length > 1 ? legend.view : null,
    fronts,
    curves.length
      ? [element("h2", {}, "Against the load"), curveNote(sweep), element("div", { class: "charts" }, curves)]
      : null,
  ];
}

/** @param {SweepData} sweep */
function curveNote({ curves }) {
  const hasBoth = curves.some(({ metrics }) => metrics.length > 1);
  return mutedParagraph(
    hasBoth ? "Solid: p50, the median of the requests; dashed: p99. " : "",
    "A point is the median of its repeats, a bar their smallest and largest value. Hollow: a run of it is SUSPECT. INVALID runs are left out.",
  );
}

/**
 * The metrics of a curve against the sweep's axis; null where no point has one.
 * @param {SweepData} sweep
 * @param {SweepData["curves"][number]} curve
 * @param {string[]} lines
 * @param {Legend} legend
 */
function curveChart({ axis, points }, { name, metrics, range }, lines, legend) {
  if (!axis || !points.some(({ values }) => metrics.some((metric) => values[metric]))) return null;
  const makeOption = () => ({
    xAxis: chartAxis([axis.key, axis.unit].filter(Boolean).join(", "), { scale: true }),
    yAxis: verticalAxis(reportIndex.metrics[metrics[0]].unit, { ...axisEnds(range), axisLabel: innerLabelStyle() }),
    tooltip: pointTooltip(({ data, value }) =>
      data.point ? sweepPointTooltip(data.point, data.metric, `${axis.key}: ${formatNumber(value[0])}`) : [],
    ),
    series: lines.flatMap((line, i) => metrics.flatMap((metric) => curveLine(points, line, metric, lineColour(i)))),
  });
  return chartFigure(`${curveTitle(name)} against ${axis.key}`, makeOption, {
    label: `${metrics.join(" and ")} against ${axis.key}; the table above has the values`,
    note: aboveNote(range),
    sharedLegend: lines.length > 1 ? legend : undefined,
  });
}

/** @param {AxisRange} range */
function axisEnds({ min, max }) {
  return { min, max };
}

/**
 * What the axis cuts off.
 * @param {AxisRange} range
 */
function aboveNote({ above }) {
  return above ? `${above} of the values lie above the axis; the table has them.` : "";
}

/** @param {string} name "ttft_ms" */
function curveTitle(name) {
  /** @type {Record<string, string>} */
  const names = LATENCY_NAMES;
  return names[name] ?? metricTitle(name);
}

/**
 * A line through the medians of the points, and bars from their smallest to their largest values.
 * @param {SweepPoint[]} points
 * @param {string} line
 * @param {string} metric
 * @param {string} color
 */
function curveLine(points, line, metric, color) {
  const measured = points
    .filter((point) => point.line === line && point.x !== null && point.values[metric])
    .sort((a, b) => Number(a.x) - Number(b.x));
  const [, , type] = CURVE_STATISTICS.find(([prefix]) => metric.startsWith(prefix)) ?? ["", "", "solid"];
  const medians = measured.map((point) => ({
    value: [point.x, point.values[metric][0]],
    point,
    metric,
    ...pointSymbol(point, color),
  }));
  const bars = measured.flatMap(({ x, values }) => [
    [x, values[metric][1]],
    [x, values[metric][2]],
    [null, null],
  ]);
  return [
    lineSeries(line, medians, { showSymbol: true, symbolSize: 7, color, lineStyle: { width: 1.8, type, color } }),
    lineSeries(line, bars, {
      silent: true,
      symbol: "none",
      lineStyle: { width: 3, opacity: 0.3, color },
      color,
      tooltip: { show: false },
    }),
  ];
}

/**
 * A full circle; a hollow diamond where any run is SUSPECT.
 * @param {SweepPoint} point
 * @param {string} color
 */
function pointSymbol(point, color) {
  return point.suspect
    ? { symbol: "diamond", itemStyle: { color: themeColour("--panel"), borderColor: color, borderWidth: 1.6 } }
    : { symbol: "circle", itemStyle: { color } };
}

/**
 * @param {SweepPoint} point
 * @param {string} metric
 * @param {string} position
 */
function sweepPointTooltip(point, metric, position) {
  const [median, low, high] = point.values[metric];
  const runs = point.runs.length - point.invalid;
  const spread = runs > 1 ? ` (${formatNumber(low)} to ${formatNumber(high)}, ${runs} runs)` : "";
  return [
    point.name,
    `${metric}: ${formatFigure(median, reportIndex.metrics[metric].unit)}${spread}`,
    position,
    point.suspect > 0 && `${point.suspect} SUSPECT`,
    point.invalid > 0 && `${point.invalid} INVALID runs left out`,
  ];
}

/**
 * A cumulative distribution for each run whose requests are in the report.
 * @param {SweepData} sweep
 * @param {string | undefined} wanted the latency of the address
 * @returns {Child}
 */
function distributionSection({ tables, quantiles }, wanted) {
  const rows = tables.flatMap((table) => table.runs).filter(({ usable, run }) => usable && run in quantiles);
  const keys = LATENCY_KEYS.filter((key) => rows.some(({ run }) => quantiles[run][key]));
  if (!keys.length) return mutedParagraph("No requests of these runs are in this report.");
  const key = keys.find((name) => name === wanted) ?? keys[0];
  const lines = rows.slice(0, MAX_DISTRIBUTIONS).flatMap((row) => {
    const values = quantiles[row.run][key];
    return values ? [{ name: sweepRowLabel(row), values }] : [];
  });
  return [
    filterForm(
      filterSelect(
        "distribution",
        "Latency",
        keys.map((name) => [name, LATENCY_NAMES[name]]),
        keys[0],
      ),
    ),
    cumulativeChart(`${LATENCY_NAMES[key]} of the measured requests, a line a run`, lines, {
      height: 340,
      note: rows.length > MAX_DISTRIBUTIONS ? `The first ${MAX_DISTRIBUTIONS} of ${rows.length} runs.` : "",
    }),
  ];
}
