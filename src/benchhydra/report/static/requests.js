"use strict";
// The requests of one run: distributions of their latencies, when each ran, and latency by time of sending.

/** @type {LegendEntry[]} */
const TIMELINE_LEGEND = [
  { name: "until the first token", colour: "--c2" },
  { name: "until the end", colour: "--c1" },
  { name: "failed", colour: "--worse" },
];

/** @param {RunRequests} requests */
function distributionCharts({ measured, quantiles, histograms }) {
  const latencies = LATENCY_KEYS.flatMap((key) => {
    const values = quantiles[key];
    return values ? [{ name: LATENCY_NAMES[key], values }] : [];
  });
  if (!latencies.length) return null;
  return element(
    "div",
    { class: "charts" },
    cumulativeChart(`Distribution of ${measured} measured requests`, latencies),
    LATENCY_KEYS.map((key) => {
      const histogram = histograms[key];
      return histogram ? histogramChart(key, histogram) : null;
    }),
  );
}

/**
 * A line for each request, from top to bottom in order of sending.
 * @param {RequestTimeline} timeline
 * @param {TimeAxis} axis
 */
function timelineLane(timeline, axis) {
  const makeOption = () => ({
    yAxis: verticalAxis("", { inverse: true, min: 0, max: timeline.sent_s.length + 1, splitNumber: 4 }),
    tooltip: pointTooltip(({ value }) => requestTooltip(timeline, value[2])),
    series: timelineSeries(timeline),
  });
  return laneFigure("Requests, in order of sending", axis, makeOption, {
    height: REQUESTS_HEIGHT,
    hasSlider: true,
    note: sampleNote(timeline),
    legend: TIMELINE_LEGEND,
  });
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
  return [untilFirst, untilEnd, failed].map((spans, i) => spanLine(TIMELINE_LEGEND[i], spans));
}

/**
 * The spans as one line with gaps between them: thousands are drawn quickly.
 * @param {LegendEntry} entry
 * @param {Span[]} spans one for each request
 */
function spanLine({ name, colour }, spans) {
  const color = themeColour(colour);
  const points = spans.flatMap((span, i) =>
    span ? [...span, null].map((x) => [x, x === null ? null : i + 1, i]) : [],
  );
  return lineSeries(name, points, {
    connectNulls: false,
    lineStyle: { width: Math.max(1, Math.min(4, 140 / spans.length)), color },
    color,
    showSymbol: true,
    symbolSize: 4,
    itemStyle: { opacity: 0 },
  });
}

/**
 * @param {RequestTimeline} timeline
 * @param {TimeAxis} axis
 */
function latencyLane(timeline, axis) {
  /** @type {[name: string, end_s: number[], colour: string][]} */
  const latencies = [
    [LATENCY_NAMES.ttft_ms, timeline.first_s, "--c1"],
    [LATENCY_NAMES.e2el_ms, timeline.done_s, "--c3"],
  ];
  const measured = latencies.filter(([, end_s]) => end_s.some((time) => time >= 0));
  const makeOption = () => ({
    yAxis: verticalAxis("", { splitNumber: 3 }),
    tooltip: pointTooltip(({ value }) => requestTooltip(timeline, value[2])),
    series: measured.map(([name, end_s, colour]) => ({
      type: /** @type {"scatter"} */ ("scatter"),
      name,
      data: timeline.sent_s.flatMap((sent, i) =>
        end_s[i] >= 0 && !hasFailed(timeline, i) ? [[sent, (end_s[i] - sent) * 1000, i]] : [],
      ),
      symbolSize: 4,
      itemStyle: { color: themeColour(colour), opacity: 0.8 },
    })),
  });
  return laneFigure("Latency by time of sending, ms", axis, makeOption, {
    height: LATENCY_HEIGHT,
    legend: measured.map(([name, , colour]) => ({ name, colour, isPoint: true })),
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
