"use strict";
// A metric of a benchmark over time: runs, levels, bands, changes, and the runs that must not be used below them.

(() => {
  // Both grids of the chart have the same sides, so that a run stands at one place in both.
  const SIDES = { left: 64, right: 18, containLabel: false };

  /** Lines of a tooltip on run i. */
  const told = (data, metric, i) => {
    const r = data.runs;
    const unit = bh.index.metrics[metric].unit;
    const level = bh.levelOf(data, metric, i);
    const band =
      level && level.low !== undefined
        ? `95 % of runs at this level: ${bh.number(level.low)} to ${bh.figure(level.high, unit)}`
        : "";
    return [
      bh.figure(data.metrics[metric][i], unit),
      `${r.verdict[i]}${r.status[i] === "ok" ? "" : `, ${r.status[i]}`}`,
      r.usable[i] ? band : "takes no part in lines and bands",
      bh.second(r.time[i]),
      r.commit[i] && `commit ${bh.commit(r.commit[i])}`,
      r.version[i] && `version ${r.version[i]}`,
      r.description[i],
      ...r.reasons[i].slice(0, 2),
    ];
  };

  /** The chart of a metric; a click on a run opens it. */
  bh.past = (data, metric, byOrder) => {
    const about = bh.index.metrics[metric];
    const open = (event) => {
      if (event.data && event.data.run !== undefined) bh.state.go(bh.runHref(data.id, data.runs.file[event.data.run]));
    };
    const invalid = data.runs.usable.filter((usable) => !usable).length;
    const below = invalid ? ` ✕ below the lines: not usable (${invalid}).` : "";
    const note = `${bh.arrowSaid(about)}. Line: level; band: where 95 % of single runs at that level are expected; dashed: a change of level.${below}`;
    return bh.chart(`${metric} (${about.unit})`, () => option(data, metric, byOrder), {
      height: 360,
      note,
      onclick: open,
      label: `${metric} of ${data.runs.id.length} runs over time; the table of runs below has the values`,
    });
  };

  const option = (data, metric, byOrder) => {
    const about = bh.index.metrics[metric];
    const x = (i) => (byOrder ? i + 1 : data.runs.time[i] * 1000);
    const points = data.metrics[metric]
      .map((value, run) => ({ value: [x(run), value], run }))
      .filter((one) => one.value[1] !== null && data.runs.usable[one.run]);
    const of = (verdict) => points.filter((one) => data.runs.verdict[one.run] === verdict);
    const lane = data.runs.usable
      .map((usable, run) => ({ value: [x(run), 0], run }))
      .filter((one) => !data.runs.usable[one.run]);
    const levels = data.levels[metric] || [];
    const [low, high] = reach(
      points.map((one) => one.value[1]),
      levels,
    );
    const span = [...points, ...lane].map((one) => one.value[0]);
    const ends = byOrder ? { min: 0, max: data.runs.id.length + 1 } : around(span);
    const axis = {
      ...bh.axis(byOrder ? "run" : "time of the run (UTC)", ends),
      ...(byOrder ? {} : { type: "time" }),
      splitLine: { show: false },
    };
    axis.axisLabel = { ...axis.axisLabel, formatter: byOrder ? bh.tick : undefined };
    const laneHeight = lane.length ? 22 : 0;
    return {
      useUTC: true,
      legend: bh.legend({ data: ["VALID", "SUSPECT", ...(lane.length ? ["not usable"] : [])], icon: null }),
      grid: [bh.grid({ ...SIDES, bottom: 76 + laneHeight }), { ...SIDES, bottom: 78, height: laneHeight }],
      xAxis: [
        { ...axis, name: lane.length ? "" : axis.name, axisLabel: { ...axis.axisLabel, show: !lane.length } },
        { ...axis, gridIndex: 1, show: lane.length > 0, axisLine: { show: false } },
      ],
      yAxis: [
        bh.yAxis(about.unit, { min: low, max: high }),
        { type: "value", gridIndex: 1, show: false, min: -1, max: 1 },
      ],
      dataZoom: [
        {
          type: "inside",
          xAxisIndex: [0, 1],
          zoomOnMouseWheel: "ctrl",
          moveOnMouseMove: true,
          preventDefaultMouseMove: false,
        },
        {
          type: "slider",
          xAxisIndex: [0, 1],
          height: 16,
          bottom: 8,
          showDetail: false,
          borderColor: bh.colour("--line"),
          fillerColor: bh.colour("--band"),
          handleSize: "80%",
          brushSelect: false,
        },
      ],
      tooltip: bh.tooltip((one) => (one.data && one.data.run !== undefined ? told(data, metric, one.data.run) : null), {
        trigger: "item",
      }),
      series: [
        {
          type: "line",
          name: "level",
          data: points,
          silent: true,
          symbol: "none",
          lineStyle: { width: 1, opacity: 0.35, color: bh.colour("--muted") },
          markArea: bands(levels, x),
          markLine: lines(data, metric, levels, x),
        },
        {
          type: "scatter",
          name: "VALID",
          data: of("VALID"),
          symbolSize: 7,
          itemStyle: { color: bh.colour("--accent") },
          large: false,
        },
        {
          type: "scatter",
          name: "SUSPECT",
          data: of("SUSPECT"),
          symbol: "diamond",
          symbolSize: 9,
          itemStyle: { color: bh.colour("--panel"), borderColor: bh.colour("--suspect"), borderWidth: 1.6 },
        },
        {
          type: "scatter",
          name: "not usable",
          data: lane,
          xAxisIndex: 1,
          yAxisIndex: 1,
          symbol: "path://M0,2 2,0 5,3 8,0 10,2 7,5 10,8 8,10 5,7 2,10 0,8 3,5Z",
          symbolSize: 9,
          itemStyle: { color: bh.colour("--worse") },
        },
      ],
    };
  };

  /** The horizontal range, with room beside the first and the last run. */
  const around = (times) => {
    const [first, last] = times.length ? [Math.min(...times), Math.max(...times)] : [0, 1];
    const room = (last - first) * 0.02 || 60_000;
    return { min: first - room, max: last + room };
  };

  /** The vertical range: the runs that count, and their bands. */
  const reach = (values, levels) => {
    const all = [...values, ...levels.flatMap((level) => [level.low ?? level.level, level.high ?? level.level])];
    if (!all.length) return [0, 1];
    const low = Math.min(...all);
    const high = Math.max(...all);
    const room = (high - low || Math.abs(high) || 1) * 0.08;
    const step = 10 ** Math.floor(Math.log10((high - low + 2 * room) / 5));
    return [
      Math.max(low < 0 ? -Infinity : 0, Math.floor((low - room) / step) * step),
      Math.ceil((high + room) / step) * step,
    ];
  };

  const bands = (levels, x) => ({
    silent: true,
    itemStyle: { color: bh.colour("--band") },
    data: levels
      .filter((level) => level.low !== undefined)
      .map((level) => [{ coord: [x(level.from), level.low] }, { coord: [x(level.to), level.high] }]),
  });

  const lines = (data, metric, levels, x) => ({
    silent: true,
    symbol: "none",
    label: { show: false },
    data: [
      ...levels.map((level) => [
        { coord: [x(level.from), level.level], lineStyle: { color: bh.colour("--accent"), width: 2, type: "solid" } },
        { coord: [x(level.to), level.level] },
      ]),
      ...(data.changes[metric] || []).map((change) => {
        const colour = bh.colour(change.better === true ? "--better" : change.better === false ? "--worse" : "--muted");
        return {
          xAxis: x(change.at),
          lineStyle: { color: colour, type: "dashed", width: 1.2 },
          label: {
            show: true,
            position: "insideEndTop",
            rotate: 0,
            align: "left",
            color: colour,
            fontSize: 11,
            formatter: bh.percent(change.ratio),
          },
        };
      }),
    ],
  });
})();
