"use strict";
// The page: which view the address names, the navigation, the theme.

(() => {
  const NAV = [
    ["history", "History"],
    ["sweeps", "Sweeps"],
    ["comparison", "Comparison"],
  ];
  const PARENT = { benchmark: "history", run: "history", sweep: "sweeps" };
  const content = document.getElementById("content");
  let shownPath = null;
  let turn = 0;

  const failed = (error) => [
    bh.h("h1", { tabindex: "-1" }, "Not found"),
    bh.h("p", { role: "alert" }, error.message),
    bh.h("p", {}, bh.link("#/history", "To the benchmarks")),
  ];

  const navigation = (name) => {
    const there = NAV.filter(([key]) =>
      key === "comparison" ? bh.index.comparison : key !== "sweeps" || bh.index.sweeps.length,
    );
    document
      .getElementById("views")
      .replaceChildren(
        ...there.map(([key, text]) =>
          bh.link(`#/${key}`, text, { "aria-current": key === (PARENT[name] || name) ? "page" : null }),
        ),
      );
  };

  /** Draw the view of the address; a newer address wins over one that is still loading. */
  const route = async () => {
    const mine = ++turn;
    const state = bh.state.now();
    if (!state.path.length) state.path = first();
    const [name] = state.path;
    const focused = document.activeElement ? document.activeElement.id : "";
    let made;
    try {
      if (!Object.hasOwn(bh.views, name)) throw new Error(`there is no page "${name}"`);
      made = await bh.views[name](state);
    } catch (error) {
      made = failed(error);
    }
    if (mine !== turn) return;
    content.replaceChildren(bh.h("div", { id: "view" }, made));
    bh.chart.sweep();
    navigation(name);
    settle(state.path.join("/"), focused);
  };

  /** What a report opens with: its comparison, its only sweep, or the history. */
  const first = () => {
    const { comparison, sweeps, results } = bh.index;
    if (comparison) return ["comparison"];
    return sweeps.length === 1 && sweeps[0].runs === results ? ["sweep", sweeps[0].id] : ["history"];
  };

  /** A new page starts at its heading; on the same page the reader stays where she was. */
  const settle = (path, focused) => {
    const heading = content.querySelector("h1");
    document.title = `${heading ? heading.textContent : ""} · ${bh.index.title}`;
    if (path === shownPath) {
      const same = focused && document.getElementById(focused);
      if (same) same.focus();
      if (same && same.type === "search") same.setSelectionRange(same.value.length, same.value.length);
    } else if (shownPath !== null) {
      window.scrollTo(0, 0);
      if (heading) heading.focus({ preventScroll: true });
    }
    shownPath = path;
  };

  const THEMES = ["system", "light", "dark"];
  const remembered = () => {
    try {
      return localStorage.getItem("bh-theme") || "system";
    } catch {
      return "system"; // a sandbox has no storage
    }
  };
  const theme = (wanted) => {
    document.documentElement.dataset.theme = wanted;
    document.getElementById("theme").textContent = `Theme: ${wanted}`;
    try {
      localStorage.setItem("bh-theme", wanted);
    } catch {
      // not remembered then
    }
    bh.chart.redraw();
  };

  const about = () => {
    const i = bh.index;
    const left = i.left_out ? ` ${i.left_out} files were left out.` : "";
    document.getElementById("about").textContent =
      `${i.results} results from ${i.sources.join(", ")}; requests of ${i.with_requests} runs.${left} Made by benchhydra ${i.version}, ${bh.minute(i.made)}.`;
  };

  const start = async () => {
    let now = remembered();
    theme(THEMES.includes(now) ? now : "system");
    document.getElementById("theme").onclick = () => {
      now = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
      theme(now);
    };
    document.querySelector(".skip").onclick = (event) => {
      event.preventDefault(); // the address says where the reader is
      content.focus();
    };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", bh.chart.redraw);
    try {
      bh.index = await bh.load("index");
    } catch (error) {
      content.replaceChildren(bh.h("p", { role: "alert" }, error.message));
      return;
    }
    about();
    window.addEventListener("hashchange", route);
    await route();
    document.documentElement.dataset.ready = "yes";
  };
  start();
})();
