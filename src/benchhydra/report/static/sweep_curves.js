"use strict";
// Curves of a sweep: metrics against its load, metrics against each other with their Pareto front, distributions.

/** What the statistics of a curve are called, and how their lines look. @type {[string, string, "solid" | "dashed"][]} */
const CURVE_STATISTICS = [
  ["median_", "p50", "solid"],
  ["p99_", "p99", "dashed"],
];
/** The trade-off that is shown first, where it was measured. */
const DEFAULT_TRADE_OFF = "output_throughput p99_e2el_ms";
const MAX_DISTRIBUTIONS = 24;

/**
 * @param {SweepData} sweep
 * @param {Address["query"]} query
 * @returns {Child}
 */
function sweepCurves(sweep, query) {
  const tradeOffs = sweep.trade_offs.filter(
    ({ x, y }) => sweep.points.filter(({ values }) => values[x] && values[y]).length > 1,
  );
  const tradeOff =
    [query.tradeoff, DEFAULT_TRADE_OFF]
      .map((name) => tradeOffs.find((one) => tradeOffName(one) === name))
      .find((one) => one) ?? tradeOffs[0];
  const charts = [
    ...sweep.curves.map((curve) => curveChart(sweep, curve)),
    tradeOff ? tradeOffChart(sweep, tradeOff) : null,
  ].filter((chart) => chart !== null);
  return [
    charts.length ? curveSection(tradeOffs, tradeOff, charts) : null,
    distributionSection(sweep, query.distribution),
  ];
}

/** @param {TradeOff} tradeOff */
function tradeOffName({ x, y }) {
  return `${x} ${y}`;
}

/**
 * @param {TradeOff[]} tradeOffs
 * @param {TradeOff | undefined} shown
 * @param {HTMLElement[]} charts
 */
function curveSection(tradeOffs, shown, charts) {
  return [
    element("h2", {}, "Curves"),
    shown
      ? filterForm(
          filterSelect(
            "tradeoff",
            "Metrics against each other",
            tradeOffs.map((one) => [tradeOffName(one), `${one.x} against ${one.y}`]),
            tradeOffName(shown),
          ),
        )
      : null,
    mutedParagraph(
      "A point is the median of its repeats, a bar their smallest and largest value. Hollow: a run of it is SUSPECT. INVALID runs are left out.",
    ),
    element("div", { class: "charts" }, charts),
  ];
}

/**
 * The metrics of a curve against the sweep's axis; null where no point has one.
 * @param {SweepData} sweep
 * @param {SweepData["curves"][number]} curve
 */
function curveChart({ axis, points }, { name, metrics }) {
  if (!axis || !points.some(({ values }) => metrics.some((metric) => values[metric]))) return null;
  const title = curveTitle(name);
  const lines = [...new Set(points.map(({ line }) => line))];
  const makeOption = () => ({
    legend: chartLegend({ left: 60, icon: null }),
    xAxis: chartAxis([axis.key, axis.unit].filter(Boolean).join(", "), { scale: true }),
    yAxis: verticalAxis(reportIndex.metrics[metrics[0]].unit),
    tooltip: pointTooltip(({ data, value }) =>
      data.point ? sweepPointTooltip(data.point, data.metric, `${axis.key}: ${formatNumber(value[0])}`) : [],
    ),
    series: lines.flatMap((line, i) =>
      metrics.flatMap((metric, k) => {
        const pointsOfLine = points
          .filter((point) => point.line === line && point.x !== null && point.values[metric])
          .sort((a, b) => Number(a.x) - Number(b.x));
        const [, statistic, dash] = CURVE_STATISTICS.find(([prefix]) => metric.startsWith(prefix)) ?? ["", "", "solid"];
        const style = { dash: /** @type {"solid" | "dashed"} */ (dash), color: lineColour(lines.length > 1 ? i : k) };
        const label = [statistic, line].filter(Boolean).join(" ") || metric;
        return pointsOfLine.length ? curveLine(label, pointsOfLine, metric, style) : [];
      }),
    ),
  });
  const label = `${metrics.join(" and ")} against ${axis.key}; the table above has the values`;
  return chartFigure(`${title} against ${axis.key}`, makeOption, { label });
}

/** @param {string} name "ttft_ms" */
function curveTitle(name) {
  /** @type {Record<string, string>} */
  const names = LATENCY_NAMES;
  return names[name] ?? name.replace(/_ms$/, "").replaceAll("_", " ");
}

/**
 * A line through the points' medians, and bars from their smallest to their largest values.
 * @param {string} name
 * @param {SweepPoint[]} points
 * @param {string} metric
 * @param {{ dash: "solid" | "dashed", color: string }} style
 */
function curveLine(name, points, metric, { dash, color }) {
  const medians = points.map((point) => ({
    value: [point.x, point.values[metric][0]],
    point,
    metric,
    ...pointSymbol(point, color),
  }));
  const bars = points.flatMap(({ x, values }) => [
    [x, values[metric][1]],
    [x, values[metric][2]],
    [null, null],
  ]);
  return [
    lineSeries(name, medians, {
      showSymbol: true,
      symbolSize: 8,
      color,
      lineStyle: { width: 1.8, type: dash, color },
    }),
    lineSeries(name, bars, {
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
 * Two metrics against each other, a point each, with the Pareto front.
 * @param {SweepData} sweep
 * @param {TradeOff} tradeOff
 */
function tradeOffChart(sweep, { x, y, front }) {
  const points = sweep.points.filter(({ values }) => values[x] && values[y]);
  const { unit } = reportIndex.metrics[x];
  const makeOption = () => ({
    legend: chartLegend({ left: 60, icon: null }),
    xAxis: chartAxis(tradeOffAxisName(x), { scale: true, boundaryGap: ["4%", "10%"] }),
    yAxis: verticalAxis(tradeOffAxisName(y), { scale: true, boundaryGap: ["5%", "12%"] }),
    tooltip: pointTooltip(({ data, value }) =>
      data.point ? sweepPointTooltip(data.point, y, `${x}: ${formatFigure(value[0], unit)}`) : [],
    ),
    series: tradeOffSeries(
      points,
      front.map((i) => sweep.points[i]),
      (point) => [point.values[x][0], point.values[y][0]],
    ),
  });
  return chartFigure(`${curveTitle(x)} against ${curveTitle(y)}`, makeOption, {
    label: `${x} against ${y}${front.length ? " with the Pareto front" : ""}; the table above has the values`,
  });
}

/** @param {string} metric */
function tradeOffAxisName(metric) {
  const about = reportIndex.metrics[metric];
  return `${metric.replace(/_ms$/, "")}, ${about.unit} (${directionWords(about)})`;
}

/**
 * @param {SweepPoint[]} points
 * @param {SweepPoint[]} front
 * @param {(point: SweepPoint) => number[]} position
 */
function tradeOffSeries(points, front, position) {
  const color = themeColour("--better");
  return [
    lineSeries("Pareto front", front.map(position), {
      step: "end",
      symbol: "none",
      silent: true,
      color,
      lineStyle: { width: 2, color },
    }),
    {
      type: /** @type {"scatter"} */ ("scatter"),
      name: "points",
      data: points.map((point) => ({
        value: position(point),
        point,
        ...pointSymbol(point, front.includes(point) ? color : themeColour("--muted")),
      })),
      symbolSize: 10,
      label: {
        show: points.length <= 12,
        position: /** @type {"top"} */ ("top"),
        color: themeColour("--muted"),
        fontSize: 10,
        formatter: (/** @type {any} */ { data }) => data.point.name.slice(0, 40),
      },
      labelLayout: { hideOverlap: true },
    },
  ];
}

/**
 * A cumulative distribution for each run whose requests are in the report.
 * @param {SweepData} sweep
 * @param {string | undefined} wanted the latency of the address
 * @returns {Child}
 */
function distributionSection({ tables, quantiles }, wanted) {
  const rows = tables.flatMap((table) => table.rows).filter(({ usable, run }) => usable && run in quantiles);
  const keys = LATENCY_KEYS.filter((key) => rows.some(({ run }) => quantiles[run][key]));
  if (!keys.length) return null;
  const key = keys.find((name) => name === wanted) ?? keys[0];
  const lines = rows.slice(0, MAX_DISTRIBUTIONS).flatMap((row) => {
    const values = quantiles[row.run][key];
    return values ? [{ name: sweepRowLabel(row), values }] : [];
  });
  return [
    element("h2", {}, "Distributions"),
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
