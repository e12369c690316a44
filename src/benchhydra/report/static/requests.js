"use strict";
// The requests of one run: distributions of their latencies, when each ran, and latency by time of sending.

const TIMELINE_HEIGHT = 340;

/** @param {RunRequests} requests */
function requestCharts({ measured, quantiles, histograms, timeline }) {
  const latencies = LATENCY_KEYS.flatMap((key) => {
    const values = quantiles[key];
    return values ? [{ name: LATENCY_NAMES[key], values }] : [];
  });
  return element(
    "div",
    { class: "charts" },
    latencies.length ? cumulativeChart(`Distribution of ${measured} measured requests`, latencies) : null,
    LATENCY_KEYS.map((key) => {
      const histogram = histograms[key];
      return histogram ? histogramChart(key, histogram) : null;
    }),
    timeline.total ? [timelineChart(timeline), latencyScatter(timeline)] : null,
  );
}

/**
 * A line for each request, from top to bottom in order of sending.
 * @param {RequestTimeline} timeline
 */
function timelineChart(timeline) {
  const makeOption = () => ({
    legend: chartLegend(),
    // ECharts 6.1 gives an inverted axis with an odd end no height where it has to make room for labels (containLabel).
    grid: chartGrid({ containLabel: false, left: 44, bottom: 48 }),
    xAxis: chartAxis("s after the first send"),
    yAxis: verticalAxis("request", { inverse: true, min: 0, max: timeline.sent_s.length + 1, nameLocation: "start" }),
    tooltip: pointTooltip(({ value }) => requestTooltip(timeline, value[2])),
    series: timelineSeries(timeline),
  });
  return chartFigure("Timeline of requests", makeOption, { height: TIMELINE_HEIGHT, note: sampleNote(timeline) });
}

/** @param {RequestTimeline} timeline */
function timelineSeries(timeline) {
  const { sent_s, first_s, done_s } = timeline;
  const width = Math.max(1, Math.min(4, 240 / sent_s.length));
  /**
   * @param {string} name
   * @param {string} colourName
   * @param {(i: number) => [start: number, end: number] | null} spanOf
   */
  const spans = (name, colourName, spanOf) => {
    // Spans of one line with gaps between them: thousands are drawn quickly.
    const points = sent_s.flatMap((_, i) => {
      const span = spanOf(i);
      return span
        ? [
            [span[0], i + 1, i],
            [span[1], i + 1, i],
            [null, null, i],
          ]
        : [];
    });
    const color = themeColour(colourName);
    return lineSeries(name, points, {
      connectNulls: false,
      lineStyle: { width, color },
      color,
      showSymbol: true,
      symbolSize: 4,
      itemStyle: { opacity: 0 },
    });
  };
  const hasFirst = (/** @type {number} */ i) => first_s[i] >= 0;
  const isGood = (/** @type {number} */ i) => !hasFailed(timeline, i);
  return [
    spans("until the first token", "--c2", (i) => (hasFirst(i) && isGood(i) ? [sent_s[i], first_s[i]] : null)),
    spans("until the end", "--c1", (i) =>
      done_s[i] >= 0 && isGood(i) ? [hasFirst(i) ? first_s[i] : sent_s[i], done_s[i]] : null,
    ),
    spans("failed", "--worse", (i) => (isGood(i) ? null : [sent_s[i], Math.max(done_s[i], sent_s[i])])),
  ];
}

/** @param {RequestTimeline} timeline */
function latencyScatter(timeline) {
  /** @type {[name: string, end_s: number[], colour: number][]} */
  const latencies = [
    [LATENCY_NAMES.ttft_ms, timeline.first_s, 0],
    [LATENCY_NAMES.e2el_ms, timeline.done_s, 2],
  ];
  const makeOption = () => ({
    legend: chartLegend({ icon: "circle" }),
    xAxis: chartAxis("sent, s after the first send"),
    yAxis: verticalAxis("ms"),
    tooltip: pointTooltip(({ value }) => requestTooltip(timeline, value[2])),
    series: latencies
      .filter(([, end_s]) => end_s.some((time) => time >= 0))
      .map(([name, end_s, colour]) => ({
        type: /** @type {"scatter"} */ ("scatter"),
        name,
        data: timeline.sent_s.flatMap((sent, i) =>
          end_s[i] >= 0 && !hasFailed(timeline, i) ? [[sent, (end_s[i] - sent) * 1000, i]] : [],
        ),
        symbolSize: 4,
        itemStyle: { color: lineColour(colour), opacity: 0.8 },
      })),
  });
  return chartFigure("Latency by time of sending", makeOption, {
    height: TIMELINE_HEIGHT,
    note: sampleNote(timeline),
  });
}

/** @param {RequestTimeline} timeline */
function sampleNote({ sent_s, total }) {
  return sent_s.length < total ? `${sent_s.length} of ${total} requests, at even steps.` : "";
}

/**
 * @param {RequestTimeline} timeline
 * @param {number} i
 */
function hasFailed({ status }, i) {
  return !["ok", "short"].includes(status[i]);
}

/**
 * @param {RequestTimeline} timeline
 * @param {number} i
 */
function requestTooltip({ sent_s, first_s, done_s, tokens, status, phase }, i) {
  const sinceSent = (/** @type {number} */ time) => formatFigure((time - sent_s[i]) * 1000, "ms");
  return [
    `request at ${formatFigure(sent_s[i], "s")}`,
    first_s[i] >= 0 && `first token after ${sinceSent(first_s[i])}`,
    done_s[i] >= 0 && `ended after ${sinceSent(done_s[i])}`,
    tokens[i] >= 0 && `${tokens[i]} output tokens`,
    `${status[i]}, ${phase[i]}`,
  ];
}
