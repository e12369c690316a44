"use strict";
// What changed from a base to a candidate: the verdicts of `benchhydra compare`, side by side.

(() => {
  const SHADES = { better: "best", worse: "worst" };

  bh.views.comparison = async ({ query }) => {
    if (!bh.index.comparison)
      throw new Error("this report compares nothing: benchhydra report BASE CANDIDATE --compare -o DIR");
    const data = await bh.load("comparison");
    const wanted = (one) =>
      !query.show || (query.show === "changed" ? ["better", "worse"].includes(one.change) : one.change === query.show);
    const points = data.points.filter((point) => !query.show || point.invalid || point.metrics.some(wanted));
    bh.say(`${points.length} points`);
    return [
      bh.h("h1", { tabindex: "-1" }, "What changed"),
      bh.facts([
        ["Base", data.base],
        ["Candidate", data.candidate],
        [
          "Metrics",
          Object.entries(data.counts).map(([said, count], i) => [
            i ? ", " : "",
            bh.h("span", { class: said }, `${count} ${said}`),
          ]),
        ],
      ]),
      bh.h(
        "p",
        { class: "muted" },
        `A verdict takes an effect that matters and evidence that it is no noise; the chance of any false alarm among them is held to ${data.false_alarm_percent} % in each direction.`,
      ),
      bh.h(
        "form",
        { class: "filters", onsubmit: (event) => event.preventDefault() },
        bh.state.select("show", "Show", [
          ["", "all metrics"],
          ["changed", "better and worse"],
          ["worse", "worse"],
          ["better", "better"],
          ["unclear", "unclear"],
          ["same", "same"],
        ]),
      ),
      points.map((point) => section(data, point, wanted)),
      points.length ? null : bh.h("p", {}, "No point is in both sources, or none matches."),
      alone("Only in the base", data.only_base),
      alone("Only in the candidate", data.only_candidate),
    ];
  };

  const alone = (title, labels) =>
    labels.length
      ? [
          bh.h("h2", {}, title),
          bh.h(
            "ul",
            {},
            labels.map((label) => bh.h("li", {}, label)),
          ),
        ]
      : null;

  const section = (data, point, wanted) => {
    const metrics = point.metrics.filter(wanted);
    return bh.h(
      "section",
      {},
      bh.h("h2", {}, point.label, point.suspect ? [" ", bh.verdict("SUSPECT")] : ""),
      point.invalid ? bh.h("p", { class: "worse" }, `INVALID: the ${point.invalid} has no usable run.`) : null,
      bh.facts([
        ["Base", runs(data, point.base)],
        ["Candidate", runs(data, point.candidate)],
      ]),
      point.differences.length
        ? bh.h(
            "details",
            { open: point.differences.length <= 6 },
            bh.h("summary", {}, `What else differs (${point.differences.length})`),
            bh.h(
              "ul",
              { class: "changes" },
              point.differences.map((line) => bh.h("li", {}, line)),
            ),
          )
        : null,
      point.missing.length
        ? bh.h("p", { class: "muted" }, `Not measured by the candidate: ${point.missing.join(", ")}`)
        : null,
      metrics.length ? [forest(point, metrics), table(metrics)] : null,
    );
  };

  const runs = (data, list) =>
    list.map((run, i) => [
      i ? " " : "",
      bh.link(bh.runHref(data.benchmarks[run.run], run.run), `run ${i + 1}`),
      run.verdict === "VALID" ? "" : [" ", bh.verdict(run.verdict)],
    ]);

  /** Changes with their intervals, a row a metric. */
  const forest = (point, metrics) => {
    const rows = metrics
      .filter((one) => one.low !== null)
      .slice(0, 40)
      .reverse();
    if (!rows.length) return null;
    const colour = (one) => bh.colour({ better: "--better", worse: "--worse" }[one.change] || "--muted");
    const sides = rows.flatMap((one) => [one.low, one.high]).map((ratio) => Math.abs(ratio * 100));
    const most = Math.max(
      5,
      Math.min(Math.max(...sides), 4 * Math.max(...rows.map((one) => Math.abs(one.ratio * 100)), 5)),
    );
    const clip = (ratio) => Math.max(-most, Math.min(most, ratio * 100));
    return bh.chart(
      "Change with its 95 % interval",
      () => ({
        grid: bh.grid({ top: 8, left: 8 }),
        xAxis: bh.axis("candidate against base, %", { min: -Math.ceil(most), max: Math.ceil(most) }),
        yAxis: {
          type: "category",
          data: rows.map((one) => one.metric),
          axisLabel: {
            color: bh.colour("--muted"),
            fontSize: 11,
            width: Math.min(210, innerWidth * 0.3),
            overflow: "truncate",
          },
          axisTick: { show: false },
          axisLine: { lineStyle: { color: bh.colour("--line") } },
        },
        tooltip: bh.tooltip(
          (one) => {
            const row = rows[one.value[1]];
            return [
              row.metric,
              `${bh.percent(row.ratio)}, 95 %: ${bh.percent(row.low)} to ${bh.percent(row.high)}`,
              `${bh.number(row.base)} → ${bh.figure(row.candidate, row.unit)}`,
              row.said,
            ];
          },
          { trigger: "item" },
        ),
        series: [
          ...rows.map((one, i) =>
            bh.line(
              "interval",
              [
                [clip(one.low), i],
                [clip(one.high), i],
              ],
              { silent: true, symbol: "none", lineStyle: { width: 3, opacity: 0.5, color: colour(one) } },
            ),
          ),
          {
            type: "scatter",
            data: rows.map((one, i) => ({ value: [clip(one.ratio), i], itemStyle: { color: colour(one) } })),
            symbolSize: 9,
            markLine: {
              silent: true,
              symbol: "none",
              label: { show: false },
              lineStyle: { color: bh.colour("--muted"), type: "solid" },
              data: [{ xAxis: 0 }],
            },
          },
        ],
      }),
      { height: 60 + 20 * rows.length, label: `Changes of ${rows.length} metrics; the table below has the values` },
    );
  };

  const table = (metrics) =>
    bh.table(
      "Metrics side by side",
      [
        { name: "Metric", head: true, sort: (row) => row.metric, cell: (row) => row.metric },
        { name: "Base", numeric: true, cell: (row) => bh.number(row.base) },
        { name: "Candidate", numeric: true, cell: (row) => bh.number(row.candidate) },
        { name: "Unit", cell: (row) => `${row.unit} ${bh.arrow(row)}` },
        {
          name: "Change",
          numeric: true,
          sort: (row) => row.ratio,
          cell: (row) => bh.percent(row.ratio),
          shade: (row) => SHADES[row.change] || "",
        },
        {
          name: "95 % interval",
          numeric: true,
          cell: (row) => (row.low === null ? "–" : `${bh.percent(row.low)} to ${bh.percent(row.high)}`),
        },
        { name: "Verdict", sort: (row) => row.change, cell: (row) => bh.h("span", { class: row.change }, row.said) },
      ],
      metrics,
    );
})();
