"use strict";
// The list of benchmarks and the list of sweeps, with their filters.

(() => {
  const FILTERS = [
    ["model", "Model"],
    ["script", "Script"],
    ["dataset", "Dataset"],
    ["machine", "Machine"],
  ];

  const values = (rows, key) => [...new Set(rows.map((row) => row[key]))].sort();

  const filter = (rows, key, label) =>
    bh.state.select(key, label, [
      ["", `all (${values(rows, key).length})`],
      ...values(rows, key).map((value) => [value, value || "(none)"]),
    ]);

  const matches = (row, query) =>
    FILTERS.every(([key]) => !query[key] || row[key] === query[key]) &&
    (query.q || "")
      .toLowerCase()
      .split(/\s+/)
      .every((word) => `${bh.fullLabel(row)} ${row.machine} ${row.description}`.toLowerCase().includes(word));

  /** The metric that the address names, or the first. */
  bh.chosenMetric = (query) => (query.metric in bh.index.metrics ? query.metric : bh.firstMetric());
  bh.firstMetric = () =>
    ["p99_ttft_ms", "mean_ttft_ms"].find((name) => name in bh.index.metrics) || Object.keys(bh.index.metrics)[0] || "";
  bh.metricSelect = (names) =>
    bh.state.select(
      "metric",
      "Metric",
      names.map((name) => [name, `${name} (${bh.index.metrics[name].unit})`]),
      bh.firstMetric(),
    );

  bh.views.history = async ({ query }) => {
    const metric = bh.chosenMetric(query);
    const about = bh.index.metrics[metric];
    const found = about ? await bh.load(`metrics/${about.file}`) : { rows: [] };
    const all = bh.index.benchmarks.map((one, i) => ({ ...one, of: found.rows[i] }));
    const rows = all.filter((row) => matches(row, query));
    bh.say(`${rows.length} benchmarks`);
    return [
      bh.h("h1", { tabindex: "-1" }, "History"),
      bh.h(
        "form",
        { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() },
        FILTERS.map(([key, label]) => filter(bh.index.benchmarks, key, label)),
        bh.metricSelect(Object.keys(bh.index.metrics)),
        bh.state.search("q", "Search"),
        bh.link(bh.state.href(["history"]), "Reset", { class: "button quiet" }),
      ),
      bh.h(
        "p",
        { class: "muted" },
        `${rows.length} of ${all.length} benchmarks. ${metric}: ${about ? about.doc || bh.arrowSaid(about) : ""}`,
      ),
      rows.length ? table(rows, metric, about) : bh.h("p", {}, "No benchmark matches these filters."),
    ];
  };

  const table = (rows, metric, about) =>
    bh.table(
      "Benchmarks",
      [
        {
          name: "Benchmark",
          head: true,
          sort: bh.fullLabel,
          cell: (row) => bh.link(bh.state.href(["benchmark", row.id], { metric }), name(row)),
        },
        {
          name: "Newest",
          unit: ` ${about.unit} ${bh.arrow(about)}`,
          title: bh.arrowSaid(about),
          numeric: true,
          sort: (row) => (row.of ? row.of[0] : null),
          cell: (row) => (row.of ? bh.number(row.of[0]) : "–"),
        },
        {
          name: "Last change",
          numeric: true,
          sort: (row) => (row.of ? row.of[2] : null),
          cell: (row) => (row.of ? bh.changeText(row.of[2], row.of[3]) : ""),
        },
        { name: "Past", cell: (row) => (row.of ? bh.spark(row.of[1], bh.direction(row.of[3])) : "") },
        {
          name: "Runs",
          numeric: true,
          sort: (row) => row.runs,
          cell: (row) => (row.unusable ? `${row.runs} (${row.unusable} not usable)` : `${row.runs}`),
        },
        { name: "Last verdict", sort: (row) => row.verdict, cell: (row) => bh.verdict(row.verdict) },
        { name: "Last run", sort: (row) => row.time, cell: (row) => bh.date(row.time) },
        { name: "Machine", sort: (row) => row.machine, cell: (row) => row.machine },
      ],
      rows,
    );

  const name = (row) => [
    bh.label(row),
    row.apart && bh.h("span", { class: "apart" }, row.apart),
    row.description && bh.h("span", { class: "apart" }, row.description),
  ];

  const SWEEP_FILTERS = [
    ["model", "Model", "models"],
    ["script", "Script", "scripts"],
    ["dataset", "Dataset", "datasets"],
    ["machine", "Machine", "machines"],
  ];

  bh.views.sweeps = async ({ query }) => {
    const all = bh.index.sweeps;
    const each = (field) => [...new Set(all.flatMap((one) => one[field]))].sort();
    const rows = all.filter((one) =>
      SWEEP_FILTERS.every(([key, , field]) => !query[key] || one[field].includes(query[key])),
    );
    bh.say(`${rows.length} sweeps`);
    return [
      bh.h("h1", { tabindex: "-1" }, "Sweeps"),
      bh.h(
        "form",
        { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() },
        SWEEP_FILTERS.map(([key, label, field]) =>
          bh.state.select(key, label, [
            ["", `all (${each(field).length})`],
            ...each(field).map((value) => [value, value || "(none)"]),
          ]),
        ),
      ),
      rows.length
        ? bh.table(
            "Sweeps",
            [
              {
                name: "Begun",
                head: true,
                sort: (row) => row.time,
                cell: (row) => bh.link(bh.state.href(["sweep", row.id]), bh.minute(row.time)),
              },
              {
                name: "What",
                cell: (row) => [row.scripts.join(", "), " ", row.models.join(", "), " ", row.datasets.join(", ")],
              },
              { name: "Description", cell: (row) => row.description },
              { name: "Machine", cell: (row) => row.machines.join(", ") },
              { name: "Runs", numeric: true, sort: (row) => row.runs, cell: (row) => `${row.runs}` },
              {
                name: "Verdicts",
                cell: (row) => Object.entries(row.verdicts).map(([said, count]) => [bh.verdict(said), ` ${count}  `]),
              },
            ],
            rows,
          )
        : bh.h("p", {}, "No sweep here: single runs are under History."),
    ];
  };
})();
