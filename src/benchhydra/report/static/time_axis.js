"use strict";
// The time axis of a run: its requests, latencies and all that was sampled, as lanes one below the other that are zoomed
// together. The measured window is shaded.

const REQUESTS_HEIGHT = 220;
const LATENCY_HEIGHT = 150;
const LANE_HEIGHT = 112;
/** Room for the names of the axis, and for the slider of the zoom below them. */
const AXIS_HEIGHT = 26;
const SLIDER_HEIGHT = 34;
/** Lines with fewer samples than this show each sample. */
const SAMPLES_WITH_SYMBOLS = 30;
/** All lanes have the same sides: a time stands at the same place in all of them. */
const LANE_SIDES = { left: 64, right: 18, containLabel: false };

/**
 * What all lanes share: the ends of the axis in seconds, the visible part of it, and the measured window.
 * @typedef {{ range: [number, number], zoom: ZoomRange, window: [number, number] | null }} TimeAxis
 */

/** @param {RunRequests} requests */
function timeAxisSection({ timeline, lanes, window }) {
  if (!timeline.total && !lanes.length) return null;
  /** Lanes that are drawn later, or drawn anew, start with the zoom of the others. @type {TimeAxis} */
  const axis = { range: timeRangeOfLanes(timeline, lanes), zoom: { start: 0, end: 100 }, window };
  const main = lanes.filter((lane) => lane.is_main);
  const others = lanes.filter((lane) => !lane.is_main);
  return [
    element("h2", {}, "Over time"),
    mutedParagraph(
      window ? `Shaded: the measured window, ${formatNumber(window[0])} to ${formatFigure(window[1], "s")}. ` : "",
      "Drag to move, the slider or Ctrl and the wheel zoom all lanes.",
    ),
    element(
      "div",
      { class: "lanes" },
      timeline.total ? [timelineLane(timeline, axis), latencyLane(timeline, axis)] : null,
      main.map((lane) => seriesLane(lane, axis)),
    ),
    others.length
      ? element(
          "details",
          { open: !main.length },
          element("summary", {}, `More series (${others.length})`),
          element(
            "div",
            { class: "lanes" },
            others.map((lane) => seriesLane(lane, axis)),
          ),
        )
      : null,
  ];
}

/**
 * From the first send or an earlier sample to the last end or a later sample.
 * @param {RequestTimeline} timeline
 * @param {Lane[]} lanes
 * @returns {[number, number]}
 */
function timeRangeOfLanes({ done_s }, lanes) {
  const lines = lanes.flatMap((lane) => lane.lines);
  return [
    Math.min(0, ...lines.flatMap(({ seconds }) => seconds.slice(0, 1))),
    Math.max(0, ...done_s, ...lines.flatMap(({ seconds }) => seconds.slice(-1))),
  ];
}

/**
 * A chart on the common axis.
 * @param {string} title
 * @param {TimeAxis} axis
 * @param {() => ChartOption & { series: ChartSeries[] }} makeOption its lines and its vertical axis
 * @param {FigureOptions & { height: number, hasSlider?: boolean }} options
 */
function laneFigure(title, axis, makeOption, { hasSlider = false, ...options }) {
  const bottom = AXIS_HEIGHT + (hasSlider ? SLIDER_HEIGHT : 0);
  const option = () => {
    const own = makeOption();
    return {
      grid: chartGrid({ ...LANE_SIDES, top: 8, bottom }),
      xAxis: chartAxis("", {
        min: axis.range[0],
        max: axis.range[1],
        axisLabel: { ...innerLabelStyle(), formatter: (/** @type {number} */ second) => `${formatTick(second)} s` },
      }),
      dataZoom: hasSlider ? horizontalZoom(axis.zoom) : horizontalZoom(axis.zoom).slice(0, 1),
      ...own,
      series: [...own.series, ...windowArea(axis)],
    };
  };
  return chartFigure(title, option, {
    ...options,
    isLane: true,
    group: "time",
    onzoom: (visible) => Object.assign(axis.zoom, visible),
  });
}

/**
 * A series without points that shades the measured window.
 * @param {TimeAxis} axis
 * @returns {ChartSeries[]}
 */
function windowArea({ window, range }) {
  if (!window) return [];
  const [start, end] = window;
  return [
    lineSeries("measured window", [[range[0], null]], {
      silent: true,
      markArea: {
        silent: true,
        itemStyle: { color: themeColour("--band") },
        data: [[{ xAxis: start }, { xAxis: end }]],
      },
    }),
  ];
}

/**
 * @param {Lane} lane
 * @param {TimeAxis} axis
 */
function seriesLane({ title, unit, lines }, axis) {
  const makeOption = () => ({
    yAxis: verticalAxis("", { scale: true, splitNumber: 3 }), // the title has the unit
    tooltip: axisTooltip((second) => `${formatNumber(second)} s`, unit),
    series: lines.map((line, i) => sampledLine(line, i)),
  });
  return laneFigure(unit ? `${title}, ${unit}` : title, axis, makeOption, {
    height: LANE_HEIGHT,
    label: `${lines.map(({ label }) => label).join(", ")} over time`,
    legend: lines.length > 1 || title !== lines[0].label ? lines.map(({ label }, i) => lineEntry(label, i)) : undefined,
  });
}

/**
 * @param {string} name
 * @param {number} i
 * @returns {LegendEntry}
 */
function lineEntry(name, i) {
  return { name, colour: colourName(i), dash: i < PALETTE.length ? "solid" : "dashed" };
}

/**
 * @param {LaneLine} line
 * @param {number} i
 */
function sampledLine({ label, seconds, values }, i) {
  return lineSeries(
    label,
    seconds.map((second, k) => [second, values[k]]),
    {
      showSymbol: seconds.length < SAMPLES_WITH_SYMBOLS,
      symbolSize: 4,
      // The colours repeat after the last one, with dashes.
      lineStyle: { width: 1.6, type: i < PALETTE.length ? "solid" : "dashed" },
      color: lineColour(i),
    },
  );
}
