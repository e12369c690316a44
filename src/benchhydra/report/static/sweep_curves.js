"use strict";
// Curves of a sweep: latency against rate, throughput against latency with its Pareto front, distributions.

/** @type {[key: string, title: string][]} */
const CURVE_LATENCIES = [
  ["ttft", "TTFT"],
  ["tpot", "TPOT"],
  ["e2el", "E2E latency"],
];
const DEFAULT_PARETO_LATENCY = "p99_e2el_ms";
const MAX_DISTRIBUTIONS = 24;

/**
 * @param {SweepData} sweep
 * @param {Address["query"]} query
 * @returns {Child}
 */
function sweepCurves(sweep, query) {
  const latency = query.latency in sweep.fronts ? query.latency : DEFAULT_PARETO_LATENCY;
  const charts = [
    ...CURVE_LATENCIES.map(([key, title]) => latencyCurves(sweep, key, title)),
    paretoChart(sweep, latency),
  ].filter((chart) => chart !== null);
  return [charts.length ? curveSection(sweep, charts) : null, distributionSection(sweep, query.distribution)];
}

/**
 * @param {SweepData} sweep
 * @param {HTMLElement[]} charts
 */
function curveSection({ fronts, points }, charts) {
  const metrics = Object.keys(fronts).filter((name) => points.some(({ values }) => values[name]));
  return [
    element("h2", {}, "Curves"),
    filterForm(
      filterSelect(
        "latency",
        "Latency of the Pareto chart",
        metrics.map((name) => [name, name]),
        DEFAULT_PARETO_LATENCY,
      ),
    ),
    mutedParagraph(
      "A point is the median of its repeats, a bar their smallest and largest value. Hollow: a run of it is SUSPECT. INVALID runs are left out.",
    ),
    element("div", { class: "charts" }, charts),
  ];
}

/**
 * Median and p99 of a latency against the sweep's axis; null where no point has it.
 * @param {SweepData} sweep
 * @param {string} key "ttft"
 * @param {string} title
 */
function latencyCurves({ axis, points }, key, title) {
  if (!axis) return null;
  /** @type {[metric: string, percentile: string, dash: "solid" | "dashed"][]} */
  const metrics = [
    [`median_${key}_ms`, "p50", "solid"],
    [`p99_${key}_ms`, "p99", "dashed"],
  ];
  if (!points.some(({ values }) => metrics.some(([metric]) => values[metric]))) return null;
  const lines = [...new Set(points.map(({ line }) => line))];
  const makeOption = () => ({
    legend: chartLegend({ left: 60, icon: null }),
    xAxis: chartAxis([axis.key, axis.unit].filter(Boolean).join(", "), { scale: true }),
    yAxis: verticalAxis("ms"),
    tooltip: pointTooltip(({ data, value }) =>
      data.point ? sweepPointTooltip(data.point, data.metric, `${axis.key}: ${formatNumber(value[0])}`) : [],
    ),
    series: lines.flatMap((line, i) =>
      metrics.flatMap(([metric, percentile, dash], k) => {
        const pointsOfLine = points
          .filter((point) => point.line === line && point.x !== null && point.values[metric])
          .sort((a, b) => Number(a.x) - Number(b.x));
        const style = { dash, color: lineColour(lines.length > 1 ? i : k) };
        return pointsOfLine.length ? latencyLine(`${percentile} ${line}`.trim(), pointsOfLine, metric, style) : [];
      }),
    ),
  });
  const label = `${title} at p50 and p99 against ${axis.key}; the table above has the values`;
  return chartFigure(`${title} against ${axis.key}`, makeOption, { label });
}

/**
 * A line through the points' medians, and bars from their smallest to their largest values.
 * @param {string} name
 * @param {SweepPoint[]} points
 * @param {string} metric
 * @param {{ dash: "solid" | "dashed", color: string }} style
 */
function latencyLine(name, points, metric, { dash, color }) {
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
    `${metric}: ${formatFigure(median, "ms")}${spread}`,
    position,
    point.suspect > 0 && `${point.suspect} SUSPECT`,
    point.invalid > 0 && `${point.invalid} INVALID runs left out`,
  ];
}

/**
 * Output throughput against a latency; null where fewer than two points have both.
 * @param {SweepData} sweep
 * @param {string} latency
 */
function paretoChart(sweep, latency) {
  const points = sweep.points.filter(({ values }) => values[latency] && values.output_throughput);
  if (points.length < 2) return null;
  const makeOption = () => ({
    legend: chartLegend({ left: 60, icon: null }),
    xAxis: chartAxis("output tokens/s (more is better)", { scale: true, boundaryGap: ["4%", "10%"] }),
    yAxis: verticalAxis(`${latency.replace(/_ms$/, "")}, ms (less is better)`, {
      scale: true,
      boundaryGap: ["5%", "12%"],
    }),
    tooltip: pointTooltip(({ data, value }) =>
      data.point ? sweepPointTooltip(data.point, latency, `output: ${formatFigure(value[0], "tokens/s")}`) : [],
    ),
    series: paretoSeries(
      points,
      sweep.fronts[latency].map((i) => sweep.points[i]),
      latency,
    ),
  });
  return chartFigure("Throughput against latency", makeOption, {
    label: "Output throughput against latency with the Pareto front",
  });
}

/**
 * @param {SweepPoint[]} points
 * @param {SweepPoint[]} front
 * @param {string} latency
 */
function paretoSeries(points, front, latency) {
  const position = (/** @type {SweepPoint} */ { values }) => [values.output_throughput[0], values[latency][0]];
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
