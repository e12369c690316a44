"use strict";
// Distributions of latency: cumulative ones of several runs or latencies, and histograms.

/** @type {Record<LatencyKey, string>} */
const LATENCY_NAMES = { ttft_ms: "TTFT", tpot_ms: "TPOT", e2el_ms: "E2E latency" };
const LATENCY_KEYS = /** @type {LatencyKey[]} */ (Object.keys(LATENCY_NAMES));
/** Values that differ by more than this factor are shown on a log scale, */
const LOG_SCALE_FROM = 20;
/** which shows this many decades at most. */
const LOG_DECADES = 4;

/** @typedef {{ name: string, values: (number | null)[] }} Quantiles values at 0, 1, ..., 100 %, in ms */

/**
 * A chart of cumulative distributions.
 * @param {string} title
 * @param {Quantiles[]} distributions
 * @param {FigureOptions} options
 */
function cumulativeChart(title, distributions, options = {}) {
  const values = distributions.flatMap((distribution) => distribution.values.filter((value) => value !== null));
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const isLog = high > LOG_SCALE_FROM * low;
  const floor = isLog ? high / 10 ** LOG_DECADES : -Infinity;
  const makeOption = () => ({
    xAxis: isLog
      ? chartAxis("ms, log scale", {
          type: "log",
          min: "dataMin",
          max: "dataMax",
          axisLabel: innerLabelStyle(),
        })
      : chartAxis("ms", { scale: true }),
    yAxis: verticalAxis("% of requests", { max: 100 }),
    tooltip: pointTooltip(({ seriesName, value }) => [
      seriesName,
      `${value[1]} % at or below ${formatFigure(value[0], "ms")}`,
    ]),
    series: distributions.map((distribution, i) => cumulativeLine(distribution, floor, lineColour(i))),
  });
  return chartFigure(title, makeOption, {
    legend: distributions.map(({ name }, i) => ({ name, colour: colourName(i) })),
    ...options,
  });
}

/**
 * Points appear only under the pointer.
 * @param {Quantiles} distribution
 * @param {number} floor smaller values are drawn here
 * @param {string} color
 */
function cumulativeLine({ name, values }, floor, color) {
  const points = values.flatMap((value, percent) => (value === null ? [] : [[Math.max(value, floor), percent]]));
  return lineSeries(name, points, {
    showSymbol: true,
    symbolSize: 5,
    itemStyle: { opacity: 0 },
    emphasis: { itemStyle: { opacity: 1 } },
    lineStyle: { width: 1.6, color },
    color,
  });
}

/**
 * @param {LatencyKey} key
 * @param {Histogram} histogram
 */
function histogramChart(key, { counts, edges }) {
  const name = LATENCY_NAMES[key];
  const lower = (/** @type {number} */ bin) => edges[bin] ?? 0;
  const makeOption = () => ({
    xAxis: chartAxis(`${name}, ms`, {
      type: "category",
      data: counts.map((_, bin) => formatNumber((lower(bin) + lower(bin + 1)) / 2)),
      axisLabel: axisLabelStyle(),
    }),
    yAxis: verticalAxis("requests", { minInterval: 1 }),
    tooltip: pointTooltip(({ value, dataIndex }) => [
      `${value} requests`,
      `${formatNumber(lower(dataIndex))} to ${formatFigure(lower(dataIndex + 1), "ms")}`,
    ]),
    series: {
      type: /** @type {"bar"} */ ("bar"),
      data: counts,
      barCategoryGap: "6%",
      itemStyle: { color: lineColour(LATENCY_KEYS.indexOf(key)) },
    },
  });
  return chartFigure(`${name}, histogram`, makeOption);
}
