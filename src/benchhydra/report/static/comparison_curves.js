"use strict";
// The main metrics of a comparison against the load: base and candidate with the bands of their runs.

const BASE_COLOUR = "--c2";
const CANDIDATE_COLOUR = "--c1";
const BAND_OPACITY = 0.16;
/** Changes are named beside their points where these lie at least this fraction of the axis apart. */
const LABEL_DISTANCE = 0.07;

/** A line of points that differ only in the load. @typedef {ComparisonChart["lines"][number]} ComparedLine */
/** Base or candidate of a line: how it is called and drawn. @typedef {LegendEntry & { side: "base" | "candidate", line: string }} SideEntry */

/** @param {ComparisonData} comparison */
function comparisonCurves({ curves }) {
  const { axis, charts } = curves;
  if (!axis || !charts.length) return null;
  const lines = [...new Set(charts.flatMap((chart) => chart.lines.map(({ name }) => name)))];
  const entries = lines.flatMap((line, i) => sideEntries(line, lines.length > 1 ? i : -1));
  const legend = chartLegend(entries);
  return [
    element("h2", {}, "Against the load"),
    legend.view,
    mutedParagraph("A band reaches from the smallest to the largest run. Axes begin at the smallest value, not at 0."),
    element(
      "div",
      { class: "charts" },
      charts.map((chart) => comparisonChart(axis, chart, entries, legend)),
    ),
  ];
}

/**
 * Base and candidate of a line. Of several lines each has a colour, and the base is dashed.
 * @param {string} line
 * @param {number} i position of the line, -1 of the only one
 * @returns {SideEntry[]}
 */
function sideEntries(line, i) {
  const name = (/** @type {string} */ side) => [side, line].filter(Boolean).join(" ");
  return [
    { name: name("base"), side: "base", line, colour: i < 0 ? BASE_COLOUR : colourName(i), dash: "dashed" },
    { name: name("candidate"), side: "candidate", line, colour: i < 0 ? CANDIDATE_COLOUR : colourName(i) },
  ];
}

/**
 * @param {{ key: string, unit: string }} axis
 * @param {ComparisonChart} chart
 * @param {SideEntry[]} entries
 * @param {Legend} legend
 */
function comparisonChart(axis, { metric, range, lines }, entries, legend) {
  const about = reportIndex.metrics[metric];
  const makeOption = () => ({
    xAxis: chartAxis([axis.key, axis.unit].filter(Boolean).join(", "), { scale: true }),
    yAxis: verticalAxis(`${about.unit} ${directionArrow(about)}`, {
      ...axisEnds(range),
      axisLabel: innerLabelStyle(),
    }),
    tooltip: pointTooltip(({ data }) => (data.lines ? data.lines : [])),
    series: entries.flatMap((entry) => {
      const line = lines.find(({ name }) => name === entry.line);
      return line ? [...bandSeries(line, entry), sideLine(line, entry, about.unit)] : [];
    }),
  });
  return chartFigure(`${metricTitle(metric)} against ${axis.key}`, makeOption, {
    label: `${metric} of base and candidate against ${axis.key}; the table above has the changes`,
    note: aboveNote(range),
    sharedLegend: legend,
  });
}

/**
 * The area from the smallest to the largest run: a line without a stroke, and what is stacked on it.
 * @param {ComparedLine} line
 * @param {SideEntry} entry
 * @returns {ChartSeries[]}
 */
function bandSeries(line, { name, side, colour }) {
  /** @type {LineSeries} */
  const style = {
    stack: `${name} band`,
    stackStrategy: "all",
    silent: true,
    symbol: "none",
    tooltip: { show: false },
    lineStyle: { opacity: 0 },
  };
  const positions = line[side];
  return [
    lineSeries(
      name,
      positions.map(([x, , low]) => [x, low]),
      style,
    ),
    lineSeries(
      name,
      positions.map(([x, , low, high]) => [x, high - low]),
      { ...style, areaStyle: { color: themeColour(colour), opacity: BAND_OPACITY } },
    ),
  ];
}

/**
 * The levels of a side. The candidate's points that changed have the colour of their verdict, and the change beside them.
 * @param {ComparedLine} line
 * @param {SideEntry} entry
 * @param {string} unit
 */
function sideLine(line, { name, side, colour, dash }, unit) {
  const color = themeColour(colour);
  const isMarked = (/** @type {number} */ i) => side === "candidate" && CHANGED.includes(line.changes[i].change);
  const named = distantPositions(line[side].map(([x]) => x).filter((_, i) => isMarked(i)));
  const data = line[side].map(([x, level, low, high], i) => {
    const { change, ratio } = line.changes[i];
    return {
      value: [x, level],
      itemStyle: { color: isMarked(i) ? themeColour(changeColour(change)) : color },
      label: {
        show: isMarked(i) && named.has(x),
        formatter: formatPercent(ratio),
        color: themeColour(changeColour(change)),
      },
      lines: [
        name,
        `${formatFigure(level, unit)} (${formatNumber(low)} to ${formatNumber(high)})`,
        side === "candidate" && `${formatPercent(ratio)} ${change.replaceAll("_", " ")}`,
      ],
    };
  });
  return lineSeries(name, data, {
    showSymbol: true,
    symbolSize: 7,
    color,
    lineStyle: { width: 2, type: dash ?? "solid", color },
    label: { position: "top", fontSize: 10 },
  });
}

/**
 * Places that lie far enough from each other for texts beside them, the last one among them.
 * @param {number[]} places from left to right
 */
function distantPositions(places) {
  const distance = LABEL_DISTANCE * ((places.at(-1) ?? 0) - places[0]);
  /** @type {Set<number>} */
  const distant = new Set();
  let next = Infinity;
  for (const place of [...places].reverse())
    if (next - place >= distance) {
      distant.add(place);
      next = place;
    }
  return distant;
}
