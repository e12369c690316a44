"use strict";
// A search as a chart: its probes with what each decided, the fitted curve with its band, the limit, the answer.

/** What a probe decided: its name in the legend, its colour, its symbol. @type {Record<string, [string, string, string]>} */
const PROBE_SIGNS = {
  met: ["met", "--better", "circle"],
  missed: ["missed", "--worse", "triangle"],
  unclear: ["undecided", "--suspect", "emptyDiamond"],
  unusable: ["INVALID", "--muted", "path://M-4,-5L0,-1L4,-5L5,-4L1,0L5,4L4,5L0,1L-4,5L-5,4L-1,0L-5,-4Z"],
};
const FIT_COLOUR = "--c1";

/**
 * @param {SearchChart[]} charts
 * @param {SweepData["benchmarks"]} benchmarks
 */
function searchCharts(charts, benchmarks) {
  if (!charts.length) return null;
  return element(
    "div",
    { class: "charts" },
    charts.map((search) => searchChart(search, benchmarks)),
  );
}

/**
 * @param {SearchChart} search
 * @param {SweepData["benchmarks"]} benchmarks
 */
function searchChart(search, benchmarks) {
  const { metric, metric_unit, value_metric, key, unit, range } = search;
  const quantity = metric === value_metric ? metricTitle(metric) : `ratio to the limit ${search.limit_text}`;
  const makeOption = () => ({
    xAxis: chartAxis([key, unit].filter(Boolean).join(", "), { scale: true }),
    yAxis: verticalAxis(metric_unit, { ...axisEnds(range), axisLabel: innerLabelStyle() }),
    tooltip: pointTooltip(({ data }) => (data.lines ? data.lines : [])),
    series: [...fitSeries(search), ...Object.keys(PROBE_SIGNS).map((decision) => probeSeries(search, decision))],
  });
  return chartFigure(`${search.name}: ${quantity}`, makeOption, {
    height: 300,
    label: `${quantity} of the probes; ${search.text}`,
    note: search.text + (range.above ? `. Probes above the axis stand at its upper end: ${range.above}.` : ""),
    legend: searchLegend(search),
    onclick: ({ data }) => {
      if (data?.run && benchmarks[data.run]) navigate(runAddress(benchmarks[data.run], data.run));
    },
  });
}

/**
 * @param {SearchChart} search
 * @returns {LegendEntry[]}
 */
function searchLegend({ probes, fit }) {
  const decisions = Object.entries(PROBE_SIGNS).filter(([decision]) => probes.some((one) => one.decision === decision));
  const entries = decisions.map(([, [name, colour]]) => ({ name, colour, isPoint: true }));
  return fit.length ? [...entries, { name: "fit", colour: FIT_COLOUR }] : entries;
}

/**
 * The curve with its band, the limit as a line, the answer's interval as an area. Without a fit, the line is empty.
 * @param {SearchChart} search
 * @returns {ChartSeries[]}
 */
function fitSeries({ fit, limit, limit_text, interval }) {
  const color = themeColour(FIT_COLOUR);
  const band = {
    stack: "band",
    stackStrategy: /** @type {"all"} */ ("all"),
    silent: true,
    symbol: "none",
    tooltip: { show: false },
    lineStyle: { opacity: 0 },
  };
  const lows = fit.map(([x, , low]) => [x, low]);
  const heights = fit.map(([x, , low, high]) => [x, high - low]);
  const values = fit.map(([x, y]) => [x, y]);
  return [
    lineSeries("fit", lows, band),
    lineSeries("fit", heights, { ...band, areaStyle: { color, opacity: BAND_OPACITY } }),
    lineSeries("fit", values, { silent: true, symbol: "none", color, lineStyle: { width: 1.8, color } }),
    lineSeries("answer", [], {
      silent: true,
      markLine: answerLines(limit, limit_text, interval),
      markArea: answerArea(interval),
    }),
  ];
}

/**
 * @param {number | null} limit
 * @param {string} text
 * @param {SearchChart["interval"]} interval
 * @returns {LineSeries["markLine"]}
 */
function answerLines(limit, text, [value]) {
  const label = { show: true, color: themeColour("--muted"), fontSize: 11 };
  /** @type {MarkLines} */
  const data = [];
  if (limit !== null)
    data.push({
      yAxis: limit,
      lineStyle: { color: themeColour("--worse"), type: "dashed" },
      label: { ...label, formatter: text, position: "insideStartTop" },
    });
  if (value !== null)
    data.push({
      xAxis: value,
      lineStyle: { color: themeColour(FIT_COLOUR), type: "solid" },
      label: { ...label, formatter: formatNumber(value), position: "end" },
    });
  return { silent: true, symbol: "none", data };
}

/**
 * @param {SearchChart["interval"]} interval
 * @returns {LineSeries["markArea"]}
 */
function answerArea([, low, high]) {
  if (low === null || high === null) return { data: [] };
  return { silent: true, itemStyle: { color: themeColour("--band") }, data: [[{ xAxis: low }, { xAxis: high }]] };
}

/**
 * The probes with one decision. Those above the axis stand at its upper end, those without a value at its lower end.
 * @param {SearchChart} search
 * @param {string} decision
 * @returns {ChartSeries}
 */
function probeSeries({ probes, metric, metric_unit, value_metric, key, unit, range }, decision) {
  const [name, colour, symbol] = PROBE_SIGNS[decision];
  const highest = range.max ?? Infinity;
  const data = probes
    .filter((probe) => probe.decision === decision)
    .map(({ x, y, value, requests, verdict, run }) => ({
      value: [x, y === null ? (range.min ?? 0) : Math.min(y, highest)],
      run,
      lines: [
        `${key || "at"} ${formatFigure(x, unit)}: ${name}`,
        y === null ? "no value" : `${metric}: ${formatFigure(y, metric_unit)}`,
        metric !== value_metric && value !== null && `${value_metric}: ${formatNumber(value)}`,
        requests !== null && `${formatNumber(requests)} requests`,
        verdict && `verdict ${verdict}`,
      ],
    }));
  return { type: "scatter", name, data, symbol, symbolSize: 11, z: 5, itemStyle: { color: themeColour(colour) } };
}
