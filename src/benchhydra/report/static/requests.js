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

/** @typedef {[start: number, end: number] | null} Span of a request in seconds, null where it is not drawn */

/** @param {RequestTimeline} timeline */
function timelineSeries(timeline) {
  const { sent_s, first_s, done_s } = timeline;
  const requests = sent_s.map((_, i) => i);
  const isGood = (/** @type {number} */ i) => !hasFailed(timeline, i);
  const hasFirst = (/** @type {number} */ i) => first_s[i] >= 0;
  /** @type {Span[]} */
  const untilFirst = requests.map((i) => (isGood(i) && hasFirst(i) ? [sent_s[i], first_s[i]] : null));
  /** @type {Span[]} */
  const untilEnd = requests.map((i) =>
    isGood(i) && done_s[i] >= 0 ? [hasFirst(i) ? first_s[i] : sent_s[i], done_s[i]] : null,
  );
  /** @type {Span[]} */
  const failed = requests.map((i) => (isGood(i) ? null : [sent_s[i], Math.max(done_s[i], sent_s[i])]));
  return [
    spanLine("until the first token", untilFirst, "--c2"),
    spanLine("until the end", untilEnd, "--c1"),
    spanLine("failed", failed, "--worse"),
  ];
}

/**
 * The spans as one line with gaps between them: thousands are drawn quickly.
 * @param {string} name
 * @param {Span[]} spans one for each request
 * @param {string} colourName
 */
function spanLine(name, spans, colourName) {
  const color = themeColour(colourName);
  const points = spans.flatMap((span, i) =>
    span ? [...span, null].map((x) => [x, x === null ? null : i + 1, i]) : [],
  );
  return lineSeries(name, points, {
    connectNulls: false,
    lineStyle: { width: Math.max(1, Math.min(4, 240 / spans.length)), color },
    color,
    showSymbol: true,
    symbolSize: 4,
    itemStyle: { opacity: 0 },
  });
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
