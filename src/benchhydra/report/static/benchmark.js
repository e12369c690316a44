"use strict";
// One benchmark: the past of a metric, every run, and the other metrics.

(() => {
  bh.views.benchmark = async ({ path, query }) => {
    const about = bh.index.benchmarks.find((one) => one.id === path[1]);
    if (!about) throw new Error("no such benchmark in this report");
    const data = await bh.load(`benchmarks/${path[1]}`);
    const names = Object.keys(bh.index.metrics).filter((name) => name in data.metrics);
    const metric = names.includes(query.metric)
      ? query.metric
      : names.includes(bh.firstMetric())
        ? bh.firstMetric()
        : names[0];
    const head = [
      bh.h("p", { class: "crumbs" }, bh.link(bh.state.href(["history"]), "History")),
      bh.h("h1", { tabindex: "-1" }, bh.fullLabel(about)),
      bh.facts([
        ["Machine", about.machine],
        ["Runs", `${about.runs}${about.unusable ? `, ${about.unusable} of them not usable` : ""}`],
        ["Newest", [bh.verdict(about.verdict), ` ${bh.minute(about.time)}`]],
        ["Description", about.description],
        ["Point", bh.h("code", {}, data.key)],
      ]),
    ];
    if (!metric) return [...head, bh.h("p", {}, "No run of it has a metric."), runs(data, null)];
    return [
      ...head,
      bh.h(
        "form",
        { class: "filters", onsubmit: (event) => event.preventDefault() },
        bh.state.select(
          "metric",
          "Metric",
          names.map((name) => [name, `${name} (${bh.index.metrics[name].unit})`]),
          bh.firstMetric(),
        ),
        bh.state.toggle("axis", "Axis", [
          ["time", "by time"],
          ["order", "by run"],
        ]),
      ),
      bh.past(data, metric, query.axis === "order"),
      changes(data, metric),
      bh.h("h2", {}, "All metrics"),
      bh.h(
        "p",
        { class: "muted" },
        "Noise is the run-to-run standard deviation around the levels. INVALID and unfinished runs take no part in it, in lines or in bands.",
      ),
      metrics(data, names),
      bh.h("h2", {}, "Runs"),
      runs(data, metric),
    ];
  };

  bh.runHref = (benchmark, file) => bh.state.href(["run", benchmark, file]);

  /** The level that a run belongs to. */
  bh.levelOf = (data, metric, i) => (data.levels[metric] || []).find((level) => level.from <= i && i <= level.to);

  const changes = (data, metric) => {
    const found = data.changes[metric] || [];
    if (!found.length)
      return bh.h("p", { class: "muted" }, "No change of level was found (it takes four runs on either side).");
    return bh.h(
      "ul",
      { class: "changes" },
      found.map((change) =>
        bh.h(
          "li",
          {},
          bh.changeText(change.ratio, change.better),
          ` at ${bh.date(data.runs.time[change.at])}: `,
          build(data, change.before),
          " → ",
          build(data, change.at),
          range(data, change),
        ),
      ),
    );
  };

  const build = (data, i) =>
    bh.link(
      bh.runHref(data.id, data.runs.file[i]),
      [data.runs.version[i], bh.commit(data.runs.commit[i])].filter(Boolean).join(" ") || bh.date(data.runs.time[i]),
    );

  const range = (data, change) => {
    const [a, b] = [data.runs.commit[change.before], data.runs.commit[change.at]];
    const known = bh.index.repository && [a, b].every((sha) => /^[0-9a-f]{7,40}$/i.test(sha)) && a !== b;
    return known ? [", ", bh.link(`${bh.index.repository}/compare/${a}...${b}`, "commits between")] : "";
  };

  const metrics = (data, names) => {
    const rows = names.map((name) => {
      const values = data.metrics[name].filter((value, i) => value !== null && data.runs.usable[i]);
      return {
        name,
        about: bh.index.metrics[name],
        values,
        noise: data.noise[name],
        last: (data.changes[name] || []).at(-1),
      };
    });
    return bh.table(
      "All metrics",
      [
        {
          name: "Metric",
          head: true,
          sort: (row) => row.name,
          cell: (row) =>
            bh.link(bh.state.href(["benchmark", data.id], { ...bh.state.now().query, metric: row.name }), row.name, {
              title: row.about.doc,
            }),
        },
        { name: "Newest", numeric: true, cell: (row) => (row.values.length ? bh.number(row.values.at(-1)) : "–") },
        { name: "Unit", cell: (row) => `${row.about.unit} ${bh.arrow(row.about)}` },
        {
          name: "Noise",
          numeric: true,
          sort: (row) => row.noise,
          cell: (row) => (row.noise === undefined ? "–" : `${(row.noise * 100).toFixed(1)} %`),
        },
        { name: "Past", cell: (row) => bh.spark(row.values.slice(-40), row.last ? bh.direction(row.last.better) : "") },
        {
          name: "Last change",
          numeric: true,
          sort: (row) => (row.last ? row.last.ratio : null),
          cell: (row) => (row.last ? bh.changeText(row.last.ratio, row.last.better) : ""),
        },
      ],
      rows,
      { part: 14 },
    );
  };

  const runs = (data, metric) => {
    const r = data.runs;
    const rows = r.id.map((_, i) => i).reverse();
    return bh.table(
      "Runs, newest first",
      [
        { name: "Run", head: true, cell: (i) => bh.link(bh.runHref(data.id, r.file[i]), bh.second(r.time[i])) },
        ...(metric
          ? [
              {
                name: metric.replace(/_ms$/, ""),
                unit: ` ${bh.index.metrics[metric].unit}`,
                numeric: true,
                sort: (i) => data.metrics[metric][i],
                cell: (i) => bh.number(data.metrics[metric][i]),
              },
            ]
          : []),
        {
          name: "Verdict",
          sort: (i) => r.verdict[i],
          cell: (i) =>
            bh.verdict(r.status[i] === "ok" ? r.verdict[i] : `${r.verdict[i]}, ${r.status[i]}`, r.reasons[i]),
        },
        { name: "Version", cell: (i) => r.version[i] || "–" },
        { name: "Commit", cell: (i) => bh.commitLink(r.commit[i]) },
        { name: "Description", cell: (i) => r.description[i] },
      ],
      rows,
      { part: 30 },
    );
  };
})();
