"use strict";
// The requests of one run: how long they took, when they ran, and the run second by second.

(() => {
  const NAMES = { ttft_ms: "TTFT", tpot_ms: "TPOT", e2el_ms: "E2E" };
  bh.latencyNames = NAMES;

  bh.requests = (data) =>
    bh.h(
      "div",
      { class: "charts" },
      Object.keys(data.quantiles).length
        ? bh.cdf(
            `Distribution of ${data.measured} measured requests`,
            Object.entries(data.quantiles).map(([key, values]) => [NAMES[key], values]),
          )
        : null,
      Object.entries(data.histograms).map(([key, found]) => histogram(NAMES[key], found)),
      data.timeline.total ? timeline(data.timeline) : null,
      data.timeline.total ? scatter(data.timeline) : null,
      data.series.second && data.series.second.length > 1
        ? [rates(data.series), known(data.series.mean_ttft_ms) ? latencies(data.series) : null]
        : null,
    );

  const known = (values) => values.some((value) => value !== null);

  /** Cumulative distributions from quantiles at every percent. all: [name, values in ms][] */
  bh.cdf = (title, all, options) => {
    const floor = least(all);
    return bh.chart(
      title,
      () => ({
        legend: bh.legend({ left: 90 }),
        xAxis: wide(all)
          ? bh.axis("ms, log scale", { type: "log", min: "dataMin", max: "dataMax" })
          : bh.axis("ms", { scale: true }),
        yAxis: bh.yAxis("% of requests", { max: 100 }),
        tooltip: bh.tooltip(
          (one) => [one.seriesName, `${one.value[1]} % at or below ${bh.figure(one.value[0], "ms")}`],
          { trigger: "item" },
        ),
        series: all.map(([name, values], i) =>
          bh.line(
            name,
            values.map((value, percent) => [Math.max(value, floor), percent]),
            {
              showSymbol: true,
              symbolSize: 5,
              itemStyle: { opacity: 0 },
              emphasis: { itemStyle: { opacity: 1 } },
              lineStyle: { width: 1.6, color: bh.series(i) },
              color: bh.series(i),
            },
          ),
        ),
      }),
      options,
    );
  };

  const reach = (all) => {
    const values = all.flatMap(([, list]) => list);
    return [Math.min(...values), Math.max(...values)];
  };

  /** Whether values differ so much that only a log scale shows all of them. */
  const wide = (all) => reach(all)[1] > 20 * reach(all)[0];

  /** A log scale has no zero, and shows four decades at most. */
  const least = (all) => (wide(all) ? reach(all)[1] / 1e4 : -Infinity);

  const histogram = (name, found) =>
    bh.chart(`${name}, histogram`, () => ({
      xAxis: bh.axis(`${name}, ms`, {
        type: "category",
        data: found.counts.map((_, i) => bh.number((found.edges[i] + found.edges[i + 1]) / 2)),
        axisLabel: { color: bh.colour("--muted"), fontSize: 11, hideOverlap: true },
      }),
      yAxis: bh.yAxis("requests", { minInterval: 1 }),
      tooltip: bh.tooltip(
        (one) => [
          `${one.value} requests`,
          `${bh.number(found.edges[one.dataIndex])} to ${bh.figure(found.edges[one.dataIndex + 1], "ms")}`,
        ],
        { trigger: "item" },
      ),
      series: [
        {
          type: "bar",
          data: found.counts,
          barCategoryGap: "6%",
          itemStyle: { color: bh.series(Object.values(NAMES).indexOf(name)) },
        },
      ],
    }));

  const shown = (t) => (t.sent_s.length < t.total ? `${t.sent_s.length} of ${t.total} requests, at even steps.` : "");
  const failed = (t, i) => !["ok", "short"].includes(t.status[i]);

  const told = (t, i) => [
    `request at ${bh.figure(t.sent_s[i], "s")}`,
    t.first_s[i] >= 0 && `first token after ${bh.figure((t.first_s[i] - t.sent_s[i]) * 1000, "ms")}`,
    t.done_s[i] >= 0 && `ended after ${bh.figure((t.done_s[i] - t.sent_s[i]) * 1000, "ms")}`,
    t.tokens[i] >= 0 && `${t.tokens[i]} output tokens`,
    `${t.status[i]}, ${t.phase[i]}`,
  ];

  /** Segments as one line with gaps: thousands of them stay quick. */
  const segments = (t, from, to, wanted) =>
    t.sent_s.flatMap((_, i) =>
      wanted(i)
        ? [
            [from(i), i + 1, i],
            [to(i), i + 1, i],
            [null, null, i],
          ]
        : [],
    );

  const timeline = (t) =>
    bh.chart(
      "Timeline of requests",
      () => {
        const spoke = (i) => t.first_s[i] >= 0;
        const part = (name, data, colour) =>
          bh.line(name, data, {
            connectNulls: false,
            lineStyle: { width: Math.max(1, Math.min(4, 240 / t.sent_s.length)), color: bh.colour(colour) },
            color: bh.colour(colour),
            showSymbol: true,
            symbolSize: 4,
            itemStyle: { opacity: 0 },
          });
        return {
          legend: bh.legend({ left: 90 }),
          xAxis: bh.axis("s after the first request"),
          yAxis: bh.yAxis("request", { inverse: true, min: 0, max: t.sent_s.length + 1, nameLocation: "start" }),
          tooltip: bh.tooltip((one) => told(t, one.value[2]), { trigger: "item" }),
          series: [
            part(
              "until the first token",
              segments(
                t,
                (i) => t.sent_s[i],
                (i) => t.first_s[i],
                (i) => spoke(i) && !failed(t, i),
              ),
              "--c2",
            ),
            part(
              "until the end",
              segments(
                t,
                (i) => (spoke(i) ? t.first_s[i] : t.sent_s[i]),
                (i) => t.done_s[i],
                (i) => t.done_s[i] >= 0 && !failed(t, i),
              ),
              "--c1",
            ),
            part(
              "failed",
              segments(
                t,
                (i) => t.sent_s[i],
                (i) => Math.max(t.done_s[i], t.sent_s[i]),
                (i) => failed(t, i),
              ),
              "--worse",
            ),
          ],
        };
      },
      { height: 340, note: shown(t) },
    );

  const scatter = (t) =>
    bh.chart(
      "Latency by time of sending",
      () => {
        const points = (end) =>
          t.sent_s
            .map((sent, i) => [sent, end[i] >= 0 && !failed(t, i) ? (end[i] - sent) * 1000 : null, i])
            .filter((one) => one[1] !== null);
        return {
          legend: bh.legend({ left: 90, icon: "circle" }),
          xAxis: bh.axis("sent, s after the first request"),
          yAxis: bh.yAxis("ms"),
          tooltip: bh.tooltip((one) => told(t, one.value[2]), { trigger: "item" }),
          series: [
            ["TTFT", t.first_s, 0],
            ["E2E", t.done_s, 2],
          ]
            .filter(([, end]) => end.some((value) => value >= 0))
            .map(([name, end, i]) => ({
              type: "scatter",
              name,
              data: points(end),
              symbolSize: 4,
              itemStyle: { color: bh.series(i), opacity: 0.8 },
            })),
        };
      },
      { height: 340, note: shown(t) },
    );

  const over = (s, key) => s.second.map((second, i) => [second, s[key][i]]);

  const rates = (s) =>
    bh.chart("Rate and requests in flight", () => ({
      legend: bh.legend({ left: 90 }),
      grid: bh.grid({ right: 24 }),
      xAxis: bh.axis("s after the first request"),
      yAxis: [
        bh.yAxis("requests/s"),
        bh.yAxis("in flight", {
          nameTextStyle: { align: "right", color: bh.colour("--muted") },
          splitLine: { show: false },
        }),
      ],
      tooltip: bh.axisTooltip(
        (at) => `second ${at}`,
        (i) => (i < 2 ? "requests/s" : "requests"),
      ),
      series: [
        bh.line("sent", over(s, "sent_rps"), { step: "end" }),
        bh.line("answered", over(s, "done_rps"), { step: "end" }),
        bh.line("in flight", over(s, "in_flight"), { yAxisIndex: 1, lineStyle: { width: 1.6, type: "dashed" } }),
      ],
    }));

  const latencies = (s) =>
    bh.chart("TTFT and TPOT second by second", () => ({
      legend: bh.legend({ left: 90 }),
      grid: bh.grid({ right: 24 }),
      xAxis: bh.axis("sent, s after the first request"),
      yAxis: [
        bh.yAxis("TTFT, ms", { scale: true }),
        bh.yAxis("TPOT, ms", {
          scale: true,
          nameTextStyle: { align: "right", color: bh.colour("--muted") },
          splitLine: { show: false },
        }),
      ],
      tooltip: bh.axisTooltip(
        (at) => `sent in second ${at}`,
        () => "ms",
      ),
      series: [
        ["mean TTFT", "mean_ttft_ms"],
        ["p99 TTFT", "p99_ttft_ms"],
      ]
        .map(([name, key]) => bh.line(name, over(s, key), { showSymbol: true, symbolSize: 4 }))
        .concat(
          bh.line("mean TPOT", over(s, "mean_tpot_ms"), {
            yAxisIndex: 1,
            showSymbol: true,
            symbolSize: 4,
            lineStyle: { width: 1.6, type: "dashed" },
          }),
        ),
    }));
})();
