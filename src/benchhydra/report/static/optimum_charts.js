"use strict";
// An optimization: its trials as a table and by rank with intervals, its Pareto front, and which keys matter.

/** How a trial ended: its colour and its symbol. @type {Record<string, [string, string]>} */
const TRIAL_SIGNS = {
  best: ["--better", "diamond"],
  ok: ["--c1", "circle"],
  cut: ["--muted", "emptyCircle"],
  infeasible: ["--worse", "triangle"],
  disturbed: ["--suspect", "emptyDiamond"],
};

/** @param {Optimum} optimum */
function optimumSection(optimum) {
  const { name, lines, columns, rows, objectives, trials, importance } = optimum;
  /** @type {Column<string[]>[]} */
  const tableColumns = columns.map((head, i) => ({ name: head, head: i === 0, cell: (row) => row[i] }));
  const charts = [
    ...objectives.map((_, place) => rankChart(optimum, place)),
    objectives.length > 1 ? paretoChart(optimum) : null,
    importance.length ? importanceChart(optimum) : null,
  ];
  return [
    element("h2", {}, `Trials of ${name}`),
    textList("What follows from the trials", lines),
    dataTable(`Trials of ${name}`, tableColumns, rows, { shown: 12 }),
    trials.length > 1 ? element("div", { class: "charts" }, charts) : null,
  ];
}

/** @param {OptimumTrial} trial */
function trialSign({ is_best, status }) {
  if (is_best) return "best";
  return status in TRIAL_SIGNS ? status : "infeasible";
}

/**
 * The values of one objective by rank, with their intervals.
 * @param {Optimum} optimum
 * @param {number} place of the objective
 */
function rankChart({ objectives, trials }, place) {
  const { name, unit, range } = objectives[place];
  const drawn = trials.filter(({ values }) => values[place]);
  const without = trials.length - drawn.length;
  const makeOption = () => ({
    xAxis: chartAxis("rank", { min: 0, max: trials.length + 1, minInterval: 1 }),
    yAxis: verticalAxis(unit, { ...axisEnds(range), axisLabel: innerLabelStyle() }),
    tooltip: pointTooltip(({ data }) => (data.lines ? data.lines : [])),
    series: [
      intervalSeries(drawn, place),
      ...Object.keys(TRIAL_SIGNS).map((sign) =>
        trialSeries(drawn, sign, ({ rank, values }) => [rank, values[place][0]], objectives),
      ),
    ],
  });
  return chartFigure(`${name} of the trials`, makeOption, {
    height: 300,
    label: `${name} of the trials by rank; the table above has the values`,
    note: [aboveNote(range), without ? `Trials without a value: ${without}.` : ""].filter(Boolean).join(" "),
    legend: trialLegend(drawn),
  });
}

/**
 * Vertical lines from the lower to the upper end of each interval.
 * @param {OptimumTrial[]} trials
 * @param {number} place of the objective
 */
function intervalSeries(trials, place) {
  const ends = trials.flatMap(({ rank, values }) => {
    const [, low, high] = values[place];
    return low === null || high === null
      ? []
      : [
          [rank, low],
          [rank, high],
          [rank, null],
        ];
  });
  const color = themeColour("--muted");
  return lineSeries("95 %", ends, { silent: true, symbol: "none", color, lineStyle: { width: 1.4, color } });
}

/**
 * The trials that ended in one way.
 * @param {OptimumTrial[]} trials
 * @param {string} sign
 * @param {(trial: OptimumTrial) => number[]} placeOf
 * @param {Optimum["objectives"]} objectives
 * @returns {ChartSeries}
 */
function trialSeries(trials, sign, placeOf, objectives) {
  const [colour, symbol] = TRIAL_SIGNS[sign];
  const data = trials
    .filter((trial) => trialSign(trial) === sign)
    .map((trial) => ({ value: placeOf(trial), lines: trialLines(trial, objectives) }));
  return { type: "scatter", name: sign, data, symbol, symbolSize: 8, z: 5, itemStyle: { color: themeColour(colour) } };
}

/**
 * @param {OptimumTrial} trial
 * @param {Optimum["objectives"]} objectives
 */
function trialLines({ rank, settings, status, reason, is_default, values }, objectives) {
  return [
    `rank ${rank}: ${settings}${is_default && settings !== "the default" ? " (the default)" : ""}`,
    ...values.map(([value, low, high], i) => {
      const inside = low === null || high === null ? "" : ` (${formatNumber(low)} to ${formatNumber(high)})`;
      return `${objectives[i].name}: ${formatFigure(value, objectives[i].unit)}${inside}`;
    }),
    reason ? `${status}: ${reason}` : status,
  ];
}

/**
 * @param {OptimumTrial[]} trials
 * @returns {LegendEntry[]}
 */
function trialLegend(trials) {
  const signs = Object.entries(TRIAL_SIGNS).filter(([sign]) => trials.some((trial) => trialSign(trial) === sign));
  return signs.map(([name, [colour]]) => ({ name, colour, isPoint: true }));
}

/**
 * Two objectives against each other, with the line of the trials that no other beats in both.
 * @param {Optimum} optimum
 */
function paretoChart({ objectives, trials }) {
  const [x, y] = objectives;
  const drawn = trials.filter(({ values }) => values.length > 1);
  /** @type {(trial: OptimumTrial) => number[]} */
  const placeOf = ({ values }) => [values[0][0], values[1][0]];
  const front = drawn
    .filter(({ is_on_front }) => is_on_front)
    .map(placeOf)
    .sort((a, b) => a[0] - b[0]);
  const makeOption = () => ({
    xAxis: chartAxis([x.name, x.unit].filter(Boolean).join(", "), {
      ...axisEnds(x.range),
      axisLabel: { ...innerLabelStyle(), formatter: formatTick },
    }),
    yAxis: verticalAxis([y.name, y.unit].filter(Boolean).join(", "), {
      ...axisEnds(y.range),
      axisLabel: innerLabelStyle(),
    }),
    tooltip: pointTooltip(({ data }) => (data.lines ? data.lines : [])),
    series: [
      lineSeries("Pareto front", front, {
        symbol: "none",
        silent: true,
        z: 1,
        lineStyle: { width: 7, opacity: 0.22, color: themeColour("--better") },
      }),
      ...Object.keys(TRIAL_SIGNS).map((sign) => trialSeries(drawn, sign, placeOf, objectives)),
    ],
  });
  return chartFigure(`${y.name} against ${x.name}`, makeOption, {
    height: 300,
    label: `${y.name} against ${x.name} with the Pareto front; the table above has the values`,
    note: [
      "Thick: the Pareto front, the trials that no other beats in both.",
      aboveNote({ above: (x.range.above ?? 0) + (y.range.above ?? 0) }),
    ]
      .filter(Boolean)
      .join(" "),
    legend: trialLegend(drawn),
  });
}

/** @param {Optimum} optimum */
function importanceChart({ importance, objectives }) {
  const fromBelow = [...importance].reverse();
  const makeOption = () => ({
    xAxis: chartAxis("part of 1", { min: 0, max: 1 }),
    yAxis: nameAxis(fromBelow.map(({ key }) => key)),
    grid: chartGrid({ containLabel: true }),
    tooltip: pointTooltip(({ data }) => (data.lines ? data.lines : [])),
    series: [
      {
        type: /** @type {"bar"} */ ("bar"),
        name: "importance",
        barMaxWidth: 18,
        itemStyle: { color: themeColour("--c1") },
        data: fromBelow.map(({ key, fraction, effects }) => ({
          value: fraction,
          lines: [
            `${key}: ${formatNumber(fraction)}`,
            ...effects.map(([setting, mean]) => `${setting}: mean ${formatFigure(mean, objectives[0].unit)}`),
          ],
        })),
      },
    ],
  });
  return chartFigure("Which keys matter for the best tenth", makeOption, {
    height: 90 + 34 * importance.length,
    label: "importance of each key; the list above has the values",
    note: "PED-ANOVA: how far the settings of the best tenth of the trials differ from those of all.",
  });
}
