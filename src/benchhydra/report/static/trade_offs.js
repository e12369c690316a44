"use strict";
// Two metrics against each other, a point each, with the Pareto front: the points that no other beats in both.

/**
 * The fronts of throughput against latency, and of what a user gets against what a GPU yields; null where none is known.
 * @param {SweepData} sweep
 * @param {string[]} lines
 * @param {Legend} legend
 * @param {string | undefined} wanted the trade-off of the address
 */
function tradeOffCharts(sweep, lines, legend, wanted) {
  const drawn = sweep.trade_offs.filter(
    ({ x, y }) => sweep.points.filter(({ values }) => values[x] && values[y]).length > 1,
  );
  if (!drawn.length) return null;
  const chosen = drawn.find((one) => tradeOffName(one) === wanted) ?? drawn[0];
  const beside = drawn.find((one) => one !== chosen);
  return [
    element("h2", {}, "Metrics against each other"),
    filterForm(
      filterSelect(
        "tradeoff",
        "First chart",
        drawn.map((one) => [tradeOffName(one), `${one.x} against ${one.y}`]),
        tradeOffName(drawn[0]),
      ),
    ),
    element(
      "div",
      { class: "charts" },
      [chosen, ...(beside ? [beside] : [])].map((one) => tradeOffChart(sweep, one, lines, legend)),
    ),
  ];
}

/** @param {TradeOff} tradeOff */
function tradeOffName({ x, y }) {
  return `${x} ${y}`;
}

/**
 * @param {SweepData} sweep
 * @param {TradeOff} tradeOff
 * @param {string[]} lines
 * @param {Legend} legend
 */
function tradeOffChart(sweep, tradeOff, lines, legend) {
  const { x, y, x_range, y_range, front } = tradeOff;
  const { unit } = reportIndex.metrics[x];
  const makeOption = () => ({
    xAxis: chartAxis(tradeOffAxisName(x), { ...axisEnds(x_range), axisLabel: innerLabelStyle() }),
    yAxis: verticalAxis(tradeOffAxisName(y), { ...axisEnds(y_range), axisLabel: innerLabelStyle() }),
    tooltip: pointTooltip(({ data, value }) =>
      data.point ? sweepPointTooltip(data.point, y, `${x}: ${formatFigure(value[0], unit)}`) : [],
    ),
    series: [
      frontLine(
        front.map((i) => sweep.points[i]),
        x,
        y,
      ),
      ...lines.map((line, i) => tradeOffPoints(sweep, line, tradeOff, lineColour(i))),
    ],
  });
  return chartFigure(`${curveTitle(x)} against ${curveTitle(y)}`, makeOption, {
    label: `${x} against ${y}${front.length ? " with the Pareto front" : ""}; the table above has the values`,
    note: [
      front.length ? "Thick: the Pareto front, the points that no other beats in both." : "",
      aboveNote({ above: (x_range.above ?? 0) + (y_range.above ?? 0) }),
    ].join(" "),
    sharedLegend: lines.length > 1 ? legend : undefined,
  });
}

/** @param {string} metric */
function tradeOffAxisName(metric) {
  const about = reportIndex.metrics[metric];
  return `${metricTitle(metric)}, ${about.unit} ${directionArrow(about)}`;
}

/**
 * @param {SweepPoint[]} points
 * @param {string} x
 * @param {string} y
 */
function frontLine(points, x, y) {
  return lineSeries(
    "Pareto front",
    points.map((point) => [point.values[x][0], point.values[y][0]]),
    { symbol: "none", silent: true, z: 1, lineStyle: { width: 7, opacity: 0.22, color: themeColour("--better") } },
  );
}

/**
 * The points of a line, in order of the load. Those on the front are larger, and its ends are named.
 * @param {SweepData} sweep
 * @param {string} line
 * @param {TradeOff} tradeOff
 * @param {string} color
 */
function tradeOffPoints({ axis, points }, line, { x, y, front }, color) {
  const ends = front.length ? [points[front[0]], points[front[front.length - 1]]] : points;
  const data = points
    .map((point, i) => ({ point, isOnFront: !front.length || front.includes(i) }))
    .filter(({ point }) => point.line === line && point.values[x] && point.values[y])
    .map(({ point, isOnFront }) => ({
      value: [point.values[x][0], point.values[y][0]],
      point,
      symbolSize: isOnFront ? 9 : 6,
      ...pointSymbol(point, color),
      label: { show: ends.includes(point) },
    }));
  return lineSeries(line, data, {
    showSymbol: true,
    color,
    lineStyle: { width: 1.4, color },
    label: {
      position: "top",
      color: themeColour("--muted"),
      fontSize: 10,
      formatter: (/** @type {any} */ at) => tradeOffPointLabel(at.data.point, axis),
    },
  });
}

/**
 * @param {SweepPoint} point
 * @param {SweepData["axis"]} axis
 */
function tradeOffPointLabel(point, axis) {
  return axis && point.x !== null ? `${axis.key.split(".").at(-1)} ${formatTick(point.x)}` : point.name.slice(0, 40);
}
