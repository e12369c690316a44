"use strict";
// Curves of a sweep: latency against rate, throughput against latency with its Pareto front, distributions.

(() => {
  const LATENCIES = [
    ["ttft", "TTFT"],
    ["tpot", "TPOT"],
    ["e2el", "E2E latency"],
  ];
  const MOST_LINES = 24;

  bh.curves = (data, query) => {
    const names = [...new Set(data.points.map((point) => point.line))];
    const rates = data.axis ? LATENCIES.map(([key, title]) => latency(data, names, key, title)) : [];
    const parts = [...rates, pareto(data, query)].filter(Boolean);
    const cdfs = distributions(data, query);
    return [
      parts.length
        ? [
            bh.h("h2", {}, "Curves"),
            chooser(
              "latency",
              "Latency of the Pareto chart",
              Object.keys(data.fronts).filter((name) => data.points.some((point) => point.values[name])),
              "p99_e2el_ms",
            ),
            bh.h(
              "p",
              { class: "muted" },
              "A point is the median of its repeats, a bar their smallest and largest value. Hollow: a run of it is SUSPECT. INVALID runs are left out.",
            ),
            bh.h("div", { class: "charts" }, parts),
          ]
        : null,
      cdfs,
    ];
  };

  const chooser = (key, label, names, fallback) =>
    bh.h(
      "form",
      { class: "filters", onsubmit: (event) => event.preventDefault() },
      bh.state.select(
        key,
        label,
        names.map((name) => [name, name]),
        fallback,
      ),
    );

  const byRate = (data, name, metric) =>
    data.points
      .filter((point) => point.line === name && point.x !== null && point.values[metric])
      .sort((a, b) => a.x - b.x);

  const told = (point, metric, x) => {
    const [mid, low, high] = point.values[metric];
    const runs = point.runs.length - point.invalid;
    return [
      point.name,
      `${metric}: ${bh.figure(mid, "ms")}${runs > 1 ? ` (${bh.number(low)} to ${bh.number(high)}, ${runs} runs)` : ""}`,
      x,
      point.suspect ? `${point.suspect} SUSPECT` : "",
      point.invalid ? `${point.invalid} INVALID runs left out` : "",
    ];
  };

  /** A full circle; a hollow diamond where any run is SUSPECT. */
  const mark = (point, colour) =>
    point.suspect
      ? { symbol: "diamond", itemStyle: { color: bh.colour("--panel"), borderColor: colour, borderWidth: 1.6 } }
      : { symbol: "circle", itemStyle: { color: colour } };

  const latency = (data, names, key, title) => {
    const metrics = [
      [`median_${key}_ms`, "p50", "solid"],
      [`p99_${key}_ms`, "p99", "dashed"],
    ];
    if (!data.points.some((point) => metrics.some(([metric]) => point.values[metric]))) return null;
    const axis = `${data.axis.key}${data.axis.unit ? `, ${data.axis.unit}` : ""}`;
    return bh.chart(
      `${title} against ${data.axis.key}`,
      () => ({
        legend: bh.legend({ left: 60, icon: null }),
        xAxis: bh.axis(axis, { scale: true }),
        yAxis: bh.yAxis("ms", { scale: false }),
        tooltip: bh.tooltip(
          (one) =>
            one.data.point
              ? told(one.data.point, one.data.metric, `${data.axis.key}: ${bh.number(one.value[0])}`)
              : null,
          { trigger: "item" },
        ),
        series: names.flatMap((name, i) =>
          metrics.flatMap(([metric, percentile, type]) => {
            const points = byRate(data, name, metric);
            if (!points.length) return [];
            const label = name ? `${percentile} ${name}` : percentile;
            const colour = bh.series(names.length > 1 ? i : percentile === "p50" ? 0 : 1);
            return [
              bh.line(
                label,
                points.map((point) => ({
                  value: [point.x, point.values[metric][0]],
                  point,
                  metric,
                  ...mark(point, colour),
                })),
                { showSymbol: true, symbolSize: 8, color: colour, lineStyle: { width: 1.8, type, color: colour } },
              ),
              bh.line(
                label,
                points.flatMap((point) => [
                  [point.x, point.values[metric][1]],
                  [point.x, point.values[metric][2]],
                  [null, null],
                ]),
                {
                  silent: true,
                  symbol: "none",
                  lineStyle: { width: 3, opacity: 0.3, color: colour },
                  color: colour,
                  tooltip: { show: false },
                },
              ),
            ];
          }),
        ),
      }),
      { label: `${title} at p50 and p99 against ${data.axis.key}; the table above has the values` },
    );
  };

  const pareto = (data, query) => {
    const metric = query.latency in data.fronts ? query.latency : "p99_e2el_ms";
    const points = data.points
      .map((point, i) => ({ point, i }))
      .filter(({ point }) => point.values[metric] && point.values.output_throughput);
    if (points.length < 2) return null;
    const at = (point) => [point.values.output_throughput[0], point.values[metric][0]];
    return bh.chart(
      "Throughput against latency",
      () => ({
        legend: bh.legend({ left: 60, icon: null }),
        xAxis: bh.axis("output tokens/s (more is better)", { scale: true, boundaryGap: ["4%", "10%"] }),
        yAxis: bh.yAxis(`${metric.replace(/_ms$/, "")}, ms (less is better)`, {
          scale: true,
          boundaryGap: ["5%", "12%"],
        }),
        tooltip: bh.tooltip(
          (one) =>
            one.data.point ? told(one.data.point, metric, `output: ${bh.figure(one.value[0], "tokens/s")}`) : null,
          { trigger: "item" },
        ),
        series: [
          bh.line(
            "Pareto front",
            data.fronts[metric].map((i) => at(data.points[i])),
            {
              step: "end",
              symbol: "none",
              silent: true,
              color: bh.colour("--better"),
              lineStyle: { width: 2, color: bh.colour("--better") },
            },
          ),
          {
            type: "scatter",
            name: "points",
            data: points.map(({ point, i }) => ({
              value: at(point),
              point,
              ...mark(point, bh.colour(data.fronts[metric].includes(i) ? "--better" : "--muted")),
            })),
            symbolSize: 10,
            label: {
              show: points.length <= 12,
              position: "top",
              color: bh.colour("--muted"),
              fontSize: 10,
              formatter: (one) => one.data.point.name.slice(0, 40),
            },
            labelLayout: { hideOverlap: true },
          },
        ],
      }),
      { label: "Output throughput against latency with the Pareto front" },
    );
  };

  const distributions = (data, query) => {
    const rows = data.tables.flatMap((table) => table.rows).filter((row) => row.usable && row.run in data.quantiles);
    if (!rows.length) return null;
    const keys = Object.keys(bh.latencyNames).filter((key) => rows.some((row) => key in data.quantiles[row.run]));
    if (!keys.length) return null;
    const key = keys.includes(query.distribution) ? query.distribution : keys[0];
    const shown = rows.filter((row) => key in data.quantiles[row.run]).slice(0, MOST_LINES);
    const lines = shown.map((row) => [
      `${row.name}${row.repeat ? ` repeat=${row.repeat}` : ""}`,
      data.quantiles[row.run][key],
    ]);
    return [
      bh.h("h2", {}, "Distributions"),
      chooser("distribution", "Latency", keys, keys[0]),
      bh.cdf(`${bh.latencyNames[key]} of the measured requests, a line a run`, lines, {
        height: 340,
        note: shown.length < rows.length ? `The first ${shown.length} of ${rows.length} runs.` : "",
      }),
    ];
  };
})();
