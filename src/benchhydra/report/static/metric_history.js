"use strict";
// The chart of a benchmark's metric over time: runs, levels with their bands, changes, and a lane below for the runs that
// are not usable.

// Both grids of the chart have the same sides: a run stands at the same place in both.
const HISTORY_SIDES = { left: 64, right: 18, containLabel: false };
const HISTORY_BOTTOM = 76;
const UNUSABLE_HEIGHT = 22;
const CROSS = "path://M0,2 2,0 5,3 8,0 10,2 7,5 10,8 8,10 5,7 2,10 0,8 3,5Z";

/**
 * What the chart shows of each run.
 * @typedef {{ value: [x: number, y: number], run: number }} HistoryPoint
 */

/**
 * The chart of a metric; a click on a run opens its page.
 * @param {BenchmarkHistory} history
 * @param {string} metric
 * @param {boolean} byOrder runs at even steps, not by time
 */
function metricHistoryChart(history, metric, byOrder) {
  const description = reportIndex.metrics[metric];
  const unusable = history.runs.usable.filter((usable) => !usable).length;
  const lane = unusable ? ` ✕ below the lines: not usable (${unusable}).` : "";
  return chartFigure(`${metric} (${description.unit})`, () => historyOption(history, metric, byOrder), {
    height: 360,
    note: `${directionWords(description)}. Line: level; band: where 95 % of single runs at that level are expected; dashed: a change of level.${lane}`,
    legend: [
      { name: "VALID", colour: "--c1", isPoint: true },
      { name: "SUSPECT", colour: "--suspect", isPoint: true },
      ...(unusable ? [{ name: "not usable", colour: "--worse", isPoint: true }] : []),
    ],
    label: `${metric} of ${history.runs.id.length} runs over time; the table of runs below has the values`,
    onclick: ({ data }) => {
      if (data?.run !== undefined) navigate(runAddress(history.id, history.runs.file[data.run]));
    },
  });
}

/**
 * @param {BenchmarkHistory} history
 * @param {string} metric
 * @param {boolean} byOrder
 * @returns {ChartOption}
 */
function historyOption(history, metric, byOrder) {
  const { runs } = history;
  const x = (/** @type {number} */ run) => (byOrder ? run + 1 : runs.time[run] * 1000);
  const points = historyPoints(history, metric, x);
  /** @type {HistoryPoint[]} */
  const lane = runs.id.flatMap((_, run) => (runs.usable[run] ? [] : [{ value: [x(run), 0], run }]));
  const levels = history.levels[metric] ?? [];
  const laneHeight = lane.length ? UNUSABLE_HEIGHT : 0;
  return {
    useUTC: true,
    grid: [
      chartGrid({ ...HISTORY_SIDES, bottom: HISTORY_BOTTOM + laneHeight }),
      { ...HISTORY_SIDES, bottom: HISTORY_BOTTOM + 2, height: laneHeight },
    ],
    xAxis: historyAxes(byOrder, byOrder ? [0, runs.id.length + 1] : timeRange([...points, ...lane]), lane.length > 0),
    yAxis: [
      verticalAxis(reportIndex.metrics[metric].unit, valueRange(points, levels)),
      { type: "value", gridIndex: 1, show: false, min: -1, max: 1 },
    ],
    dataZoom: horizontalZoom({ xAxisIndex: [0, 1] }),
    tooltip: pointTooltip(({ data }) => (data?.run === undefined ? [] : runTooltip(history, metric, data.run))),
    series: [
      {
        type: "line",
        name: "level",
        data: points,
        silent: true,
        symbol: "none",
        lineStyle: { width: 1, opacity: 0.35, color: themeColour("--muted") },
        markArea: levelBands(levels, x),
        markLine: { silent: true, symbol: "none", label: { show: false }, data: historyLines(history, metric, x) },
      },
      ...runSeries(points, lane, runs),
    ],
  };
}

/**
 * The usable runs that have the metric.
 * @param {BenchmarkHistory} history
 * @param {string} metric
 * @param {(run: number) => number} x
 * @returns {HistoryPoint[]}
 */
function historyPoints({ metrics, runs }, metric, x) {
  return metrics[metric].flatMap((value, run) =>
    value === null || !runs.usable[run] ? [] : [{ value: [x(run), value], run }],
  );
}

/**
 * The runs as points: VALID, SUSPECT, and, in the lane below, not usable.
 * @param {HistoryPoint[]} points
 * @param {HistoryPoint[]} lane
 * @param {RunColumns} runs
 * @returns {ChartSeries[]}
 */
function runSeries(points, lane, runs) {
  return [
    {
      type: "scatter",
      name: "VALID",
      data: points.filter(({ run }) => runs.verdict[run] === "VALID"),
      symbolSize: 7,
      itemStyle: { color: themeColour("--accent") },
    },
    {
      type: "scatter",
      name: "SUSPECT",
      data: points.filter(({ run }) => runs.verdict[run] === "SUSPECT"),
      symbol: "diamond",
      symbolSize: 9,
      itemStyle: { color: themeColour("--panel"), borderColor: themeColour("--suspect"), borderWidth: 1.6 },
    },
    {
      type: "scatter",
      name: "not usable",
      data: lane,
      xAxisIndex: 1,
      yAxisIndex: 1,
      symbol: CROSS,
      symbolSize: 9,
      itemStyle: { color: themeColour("--worse") },
    },
  ];
}

/**
 * The horizontal axes of the chart and of the lane below it; the lower one has the name and the labels.
 * @param {boolean} byOrder
 * @param {[number, number]} range
 * @param {boolean} hasLane
 */
function historyAxes(byOrder, [min, max], hasLane) {
  const label = { ...axisLabelStyle(), formatter: byOrder ? formatTick : undefined };
  const name = byOrder ? "run" : "time of the run (UTC)";
  const axis = { type: byOrder ? "value" : "time", min, max, splitLine: { show: false } };
  return [
    chartAxis(hasLane ? "" : name, { ...axis, axisLabel: { ...label, show: !hasLane } }),
    chartAxis(name, { ...axis, axisLabel: label, gridIndex: 1, show: hasLane, axisLine: { show: false } }),
  ];
}

/**
 * The horizontal range in ms, with room beside the first and the last run.
 * @param {HistoryPoint[]} points
 * @returns {[number, number]}
 */
function timeRange(points) {
  const times = points.map(({ value }) => value[0]);
  const [first, last] = times.length ? [Math.min(...times), Math.max(...times)] : [0, 1];
  const room = (last - first) * 0.02 || 60_000;
  return [first - room, last + room];
}

/**
 * The vertical range: usable runs and bands, with room above and below, at round figures.
 * @param {HistoryPoint[]} points
 * @param {Level[]} levels
 */
function valueRange(points, levels) {
  const bands = levels.flatMap(({ level, low = level, high = level }) => [low, high]);
  const values = [...points.map(({ value }) => value[1]), ...bands];
  if (!values.length) return { min: 0, max: 1 };
  const low = Math.min(...values);
  const high = Math.max(...values);
  const room = (high - low || Math.abs(high) || 1) * 0.08;
  const step = 10 ** Math.floor(Math.log10((high - low + 2 * room) / 5));
  return {
    min: Math.max(low < 0 ? -Infinity : 0, Math.floor((low - room) / step) * step),
    max: Math.ceil((high + room) / step) * step,
  };
}

/**
 * @param {Level[]} levels
 * @param {(run: number) => number} x
 * @returns {LineSeries["markArea"]}
 */
function levelBands(levels, x) {
  return {
    silent: true,
    itemStyle: { color: themeColour("--band") },
    data: levels.flatMap(({ from, to, low, high }) =>
      low === undefined || high === undefined ? [] : [[{ coord: [x(from), low] }, { coord: [x(to), high] }]],
    ),
  };
}

/**
 * Levels as horizontal lines, changes as dashed vertical ones.
 * @param {BenchmarkHistory} history
 * @param {string} metric
 * @param {(run: number) => number} x
 * @returns {MarkLines}
 */
function historyLines(history, metric, x) {
  /** @type {MarkLines} */
  const levels = (history.levels[metric] ?? []).map(({ from, to, level }) => [
    { coord: [x(from), level], lineStyle: { color: themeColour("--accent"), width: 2, type: "solid" } },
    { coord: [x(to), level] },
  ]);
  /** @type {MarkLines} */
  const changes = (history.changes[metric] ?? []).map(({ at, ratio, better }) => {
    const color = themeColour(`--${changeClass(better) || "muted"}`);
    return {
      xAxis: x(at),
      lineStyle: { color, type: "dashed", width: 1.2 },
      label: {
        show: true,
        position: "insideEndTop",
        rotate: 0,
        align: "left",
        color,
        fontSize: 11,
        formatter: formatPercent(ratio),
      },
    };
  });
  return [...levels, ...changes];
}

/**
 * The level that a run belongs to.
 * @param {BenchmarkHistory} history
 * @param {string} metric
 * @param {number} run
 */
function levelOfRun(history, metric, run) {
  return history.levels[metric]?.find(({ from, to }) => from <= run && run <= to);
}

/**
 * @param {BenchmarkHistory} history
 * @param {string} metric
 * @param {number} run
 */
function runTooltip(history, metric, run) {
  const { runs } = history;
  const { unit } = reportIndex.metrics[metric];
  const level = levelOfRun(history, metric, run);
  const band =
    level?.low !== undefined &&
    `95 % of runs at this level: ${formatNumber(level.low)} to ${formatFigure(level.high, unit)}`;
  return [
    formatFigure(history.metrics[metric][run], unit),
    runVerdict(runs, run),
    runs.usable[run] ? band : "left out of lines and bands",
    formatSecond(runs.time[run]),
    runs.commit[run] && `commit ${shortCommit(runs.commit[run])}`,
    runs.version[run] && `version ${runs.version[run]}`,
    runs.description[run],
    ...runs.reasons[run].slice(0, 2),
  ];
}
