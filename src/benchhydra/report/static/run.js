"use strict";
// One run: verdict, links, metrics against what was expected, configuration, environment, and its requests.

(() => {
  bh.views.run = async ({ path }) => {
    const about = bh.index.benchmarks.find((one) => one.id === path[1]);
    if (!about) throw new Error("no such benchmark in this report");
    const [data, details] = await Promise.all([bh.load(`benchmarks/${path[1]}`), bh.load(`details/${path[1]}`)]);
    const i = data.runs.file.indexOf(path[2]);
    if (i < 0) throw new Error("no such run in this report");
    const own = details.runs[i];
    const facts = { ...(own.known ? details.common : {}), ...own.facts };
    const requests = own.requests ? await bh.load(`requests/${path[2]}`) : null;
    return [
      bh.h(
        "p",
        { class: "crumbs" },
        bh.link(bh.state.href(["history"]), "History"),
        " / ",
        bh.link(bh.state.href(["benchmark", data.id]), bh.fullLabel(about)),
      ),
      bh.h("h1", { tabindex: "-1" }, `Run of ${bh.second(data.runs.time[i])}`),
      summary(data, own, i),
      said(data, own, i),
      bh.h("h2", {}, "Metrics"),
      metrics(data, i),
      bh.h("h2", {}, "Requests"),
      requests ? bh.requests(requests) : bh.h("p", { class: "muted" }, missing(own)),
      bh.h("h2", {}, "Configuration"),
      own.known ? config(facts) : bh.h("p", { class: "muted" }, "This source holds the run's figures alone."),
    ];
  };

  const missing = (own) =>
    own.known
      ? "This run has no records.parquet, or its requests were left out: only those of the newest runs are in a report (--requests N)."
      : "This source holds no requests.";

  const summary = (data, own, i) => {
    const r = data.runs;
    const sweep = r.sweep[i] && bh.index.sweeps.some((one) => one.id === r.sweep[i]);
    return bh.facts([
      ["Verdict", bh.verdict(r.status[i] === "ok" ? r.verdict[i] : `${r.verdict[i]}, ${r.status[i]}`)],
      ["Commit", bh.commitLink(r.commit[i])],
      ["Engine", r.version[i]],
      ["MLflow", own.mlflow ? bh.link(own.mlflow, "open the run") : own.known ? "not logged" : ""],
      ["Sweep", sweep ? bh.link(bh.state.href(["sweep", r.sweep[i]]), "open the sweep") : ""],
      ["Repeat", own.repeat ? `${own.repeat}` : ""],
      ["Took", own.wall_s ? bh.figure(own.wall_s, "s") : ""],
      ["Description", r.description[i]],
      ["Run", bh.h("code", {}, r.id[i])],
      ["File", own.source ? bh.h("code", {}, own.source) : ""],
    ]);
  };

  const said = (data, own, i) => {
    const failures = Object.entries(own.failures || {}).map(([kind, count]) => `${count} requests ended as ${kind}`);
    const lines = [...data.runs.reasons[i], ...(own.error ? [own.error] : []), ...failures, ...(own.warnings || [])];
    return [
      lines.length
        ? bh.h(
            "ul",
            { class: `reasons ${data.runs.verdict[i].toLowerCase()}` },
            lines.map((line) => bh.h("li", {}, line)),
          )
        : null,
      own.log_tail
        ? bh.h(
            "details",
            {},
            bh.h("summary", {}, "End of the server's log"),
            bh.h("pre", { tabindex: "0" }, own.log_tail),
          )
        : null,
    ];
  };

  const metrics = (data, i) => {
    const names = Object.keys(bh.index.metrics).filter(
      (name) => name in data.metrics && data.metrics[name][i] !== null,
    );
    if (!names.length) return bh.h("p", { class: "muted" }, "Nothing was measured.");
    const rows = names.map((name) => ({
      name,
      about: bh.index.metrics[name],
      value: data.metrics[name][i],
      level: data.runs.usable[i] ? bh.levelOf(data, name, i) : null,
    }));
    const outside = (row) =>
      row.level && row.level.low !== undefined && (row.value < row.level.low || row.value > row.level.high);
    return bh.table(
      "Metrics",
      [
        {
          name: "Metric",
          head: true,
          sort: (row) => row.name,
          cell: (row) =>
            bh.link(bh.state.href(["benchmark", data.id], { metric: row.name }), row.name, { title: row.about.doc }),
        },
        { name: "Value", numeric: true, cell: (row) => bh.number(row.value) },
        { name: "Unit", cell: (row) => `${row.about.unit} ${bh.arrow(row.about)}` },
        { name: "Level", numeric: true, cell: (row) => (row.level ? bh.number(row.level.level) : "–") },
        {
          name: "Expected (95 %)",
          numeric: true,
          cell: (row) =>
            row.level && row.level.low !== undefined
              ? `${bh.number(row.level.low)} to ${bh.number(row.level.high)}${outside(row) ? " ✕ outside" : ""}`
              : "–",
        },
      ],
      rows,
      { part: 14 },
    );
  };

  const config = (facts) =>
    ["config", "environment", "metadata"].map((part, i) => {
      const rows = Object.entries(facts)
        .filter(([key]) => key.startsWith(`${part}.`))
        .map(([key, value]) => [key.slice(part.length + 1), value]);
      if (!rows.length) return null;
      const table = bh.table(
        part,
        [
          { name: "Key", head: true, sort: (row) => row[0], cell: (row) => bh.h("code", {}, row[0]) },
          { name: "Value", cell: (row) => (row[1] === null ? "null" : String(row[1])) },
        ],
        rows,
        { part: 200 },
      );
      return bh.h("details", { open: i === 0 }, bh.h("summary", {}, `${part} (${rows.length})`), table);
    });
})();
