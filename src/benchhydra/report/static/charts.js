"use strict";
// What all charts share: colours of the theme, axes with units, tooltips made of text, drawing when they are seen.

(() => {
  const mounted = new Set();
  const PALETTE = ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6", "--c7", "--c8"];

  bh.colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  bh.series = (i) => bh.colour(PALETTE[i % PALETTE.length]);

  const seen = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) if (entry.isIntersecting && entry.target.draw) entry.target.draw();
    },
    { rootMargin: "200px" },
  );
  const sized = new ResizeObserver((entries) => {
    for (const entry of entries) entry.target.chart?.resize();
  });

  /** A figure with a heading. make(): the ECharts option, asked again when the theme changes. */
  bh.chart = (title, make, options) => {
    const { height = 280, note = "", onclick = null, label = "" } = options || {};
    const canvas = bh.h("div", { class: "canvas", role: "img", "aria-label": label || title });
    canvas.style.height = `${height}px`;
    canvas.draw = () => {
      seen.unobserve(canvas);
      if (!canvas.isConnected) return;
      if (!canvas.chart) {
        canvas.chart = echarts.init(canvas, null, { renderer: "canvas" });
        sized.observe(canvas);
        mounted.add(canvas);
        if (onclick) canvas.chart.on("click", onclick);
      }
      canvas.chart.setOption({ ...base(), ...make() }, true);
    };
    seen.observe(canvas);
    return bh.h(
      "figure",
      { class: "chart" },
      bh.h("figcaption", {}, bh.h("h3", {}, title), note && bh.h("p", { class: "muted" }, note)),
      canvas,
    );
  };

  /** Give back the charts that are no longer on the page. */
  bh.chart.sweep = () => {
    for (const canvas of mounted)
      if (!canvas.isConnected) {
        sized.unobserve(canvas);
        canvas.chart.dispose();
        mounted.delete(canvas);
      }
  };
  bh.chart.redraw = () => mounted.forEach((canvas) => canvas.draw());

  const base = () => ({
    animation: false,
    color: PALETTE.map(bh.colour),
    backgroundColor: "transparent",
    textStyle: { fontFamily: "system-ui, sans-serif", color: bh.colour("--text") },
    aria: { enabled: false },
    grid: bh.grid(),
  });

  bh.grid = (changes) => ({ left: 12, right: 18, top: 40, bottom: 34, containLabel: true, ...changes });

  /** Ticks are round figures, and may lie close together. */
  bh.tick = (value) => value.toLocaleString("en-US", { maximumFractionDigits: 6 });

  /** An axis with its name and unit. */
  bh.axis = (name, changes) => ({
    type: "value",
    name,
    nameLocation: "middle",
    nameGap: 28,
    nameTextStyle: { color: bh.colour("--muted"), fontSize: 12 },
    axisLine: { lineStyle: { color: bh.colour("--line") } },
    axisLabel: { color: bh.colour("--muted"), fontSize: 11, hideOverlap: true, formatter: bh.tick },
    splitLine: { lineStyle: { color: bh.colour("--line"), opacity: 0.7 } },
    axisTick: { show: false },
    ...changes,
  });

  /** A vertical axis, named above its end so that figures of any width have room. */
  bh.yAxis = (name, changes) =>
    bh.axis(name, {
      nameLocation: "end",
      nameGap: 14,
      nameTextStyle: { color: bh.colour("--muted"), fontSize: 12, align: "left" },
      ...changes,
    });

  bh.legend = (changes) => ({
    type: "scroll",
    top: 0,
    right: 0,
    left: 120,
    itemWidth: 18,
    itemHeight: 9,
    icon: "roundRect",
    align: "left",
    pageIconColor: bh.colour("--accent"),
    pageTextStyle: { color: bh.colour("--muted") },
    textStyle: { color: bh.colour("--muted"), fontSize: 11 },
    itemStyle: { opacity: 1 },
    ...changes,
  });

  /** A tooltip from lines of text; the first is its head. lines(params) -> [text, ...] */
  bh.tooltip = (lines, changes) => ({
    confine: true,
    backgroundColor: bh.colour("--panel"),
    borderColor: bh.colour("--line"),
    textStyle: { color: bh.colour("--text"), fontSize: 12 },
    extraCssText: "max-width:min(30rem,90vw);white-space:normal",
    formatter: (params) => {
      const made = lines(params);
      if (!made || !made.length) return "";
      const [head, ...rest] = made.filter(Boolean);
      return bh.h(
        "div",
        { class: "tip" },
        bh.h("strong", {}, head),
        rest.map((line) => bh.h("div", {}, line)),
      );
    },
    ...changes,
  });

  /** Tooltip of everything at one place of the horizontal axis. */
  bh.axisTooltip = (head, unit) =>
    bh.tooltip(
      (all) => [
        head(all[0].value[0]),
        ...all
          .filter((one) => one.value[1] !== null && one.value[1] !== undefined)
          .map((one) => `${one.seriesName}: ${bh.figure(one.value[1], unit(one.seriesIndex))}`),
      ],
      { trigger: "axis", axisPointer: { type: "line", lineStyle: { color: bh.colour("--muted") } } },
    );

  bh.line = (name, data, changes) => ({
    type: "line",
    name,
    data,
    showSymbol: false,
    symbolSize: 6,
    lineStyle: { width: 1.6 },
    ...changes,
  });
})();
