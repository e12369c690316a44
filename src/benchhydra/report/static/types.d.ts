// The data that Python writes (report/site.py and report/data/*.py) and the few shapes that the scripts share.
// tests/report/test_scripts.py checks real data against these types.

declare const echarts: typeof import("echarts");

// ---- Pieces of data, by name: what `loadPiece` returns.

interface Pieces {
  index: ReportIndex;
  comparison: ComparisonData;
  [metric: `metrics/${string}`]: MetricSummaries;
  [benchmark: `benchmarks/${string}`]: BenchmarkHistory;
  [benchmark: `details/${string}`]: BenchmarkDetails;
  [run: `requests/${string}`]: RunRequests;
  [sweep: `sweeps/${string}`]: SweepData;
}

// ---- index

interface ReportIndex {
  title: string;
  sources: string[];
  /** When the report was written, Unix seconds. */
  made: number;
  version: string;
  /** Web address of the commits' repository; "" is unknown. */
  repository: string;
  results: number;
  /** How many runs have a piece `requests/`. */
  with_requests: number;
  /** Files that could not be read. */
  left_out: number;
  /** By name: key metrics first. */
  metrics: Record<string, Metric>;
  benchmarks: BenchmarkSummary[];
  sweeps: SweepSummary[];
  comparison: boolean;
}

type Better = "BiggerIsBetter" | "SmallerIsBetter" | "Observation";
type Verdict = "VALID" | "SUSPECT" | "INVALID";

interface Metric {
  unit: string;
  better: Better;
  /** The metric's piece is `metrics/FILE`. */
  file: string;
  doc: string;
}

/** What a benchmark measures. */
interface BenchmarkName {
  script: string;
  model: string;
  dataset: string;
  /** The load in a few words: "qps=8". */
  load: string;
  /** Settings that distinguish it from other benchmarks of the same name. */
  apart: string;
}

interface BenchmarkSummary extends BenchmarkName {
  id: string;
  machine: string;
  description: string;
  runs: number;
  /** How many of the runs are INVALID or did not finish. */
  unusable: number;
  /** Verdict of the newest run, with its status where that is not "ok". */
  verdict: string;
  /** Newest run, Unix seconds. */
  time: number;
}

interface SweepSummary {
  id: string;
  /** First run, Unix seconds. */
  time: number;
  runs: number;
  verdicts: Record<string, number>;
  scripts: string[];
  models: string[];
  datasets: string[];
  machines: string[];
  description: string;
}

// ---- metrics/FILE

interface MetricSummaries {
  /** One for each benchmark of the index; null where it lacks the metric. */
  rows: (MetricSummary | null)[];
}

/** Newest value, recent values, last change as a ratio - 1, and whether that was for the better. */
type MetricSummary = [number | null, (number | null)[], number | null, boolean | null];

// ---- benchmarks/ID

/** Columns, one entry for each run, oldest first. */
interface RunColumns {
  id: string[];
  /** The run's name in addresses and pieces. */
  file: string[];
  /** Unix seconds. */
  time: number[];
  verdict: Verdict[];
  status: string[];
  /** False for INVALID and unfinished runs. */
  usable: boolean[];
  version: string[];
  commit: string[];
  /** The id of the run's sweep; "" is none. */
  sweep: string[];
  reasons: string[][];
  description: string[];
}

interface BenchmarkHistory {
  id: string;
  /** The point's key. */
  key: string;
  machine: string;
  runs: RunColumns;
  /** Values of each metric, one for each run. */
  metrics: Record<string, (number | null)[]>;
  levels: Record<string, Level[]>;
  changes: Record<string, LevelChange[]>;
  /** Run-to-run standard deviation around the levels, as a fraction. */
  noise: Record<string, number>;
}

/** A stretch of runs between two changes. `from` and `to` are positions of runs. */
interface Level {
  from: number;
  to: number;
  level: number;
  /** Ends of the 95 % prediction interval of a single run; absent where there are too few runs. */
  low?: number;
  high?: number;
}

/** `at` and `before` are positions of runs: the first one after the change and the last one before it. */
interface LevelChange {
  at: number;
  before: number;
  /** Ratio of the levels - 1. */
  ratio: number;
  better: boolean | null;
}

// ---- details/ID

type Fact = string | number | boolean | null;

interface BenchmarkDetails {
  /** Facts that all runs share: `config.qps`, `environment.host.name`, ... */
  common: Record<string, Fact>;
  /** One for each run of the benchmark, in the same order. */
  runs: RunDetails[];
}

/** Texts of a run; empty ones are absent. */
interface RunDetails {
  facts?: Record<string, Fact>;
  /** Whether the source had more than figures. */
  has_facts?: boolean;
  warnings?: string[];
  /** Number of failed requests by kind. */
  failures?: Record<string, number>;
  failure_texts?: string[];
  /** Figures of groups of requests: by label (replica, adapter), name of the group, metric. */
  groups?: Record<string, Record<string, Record<string, number>>>;
  repeat?: number;
  wall_s?: number;
  error?: string;
  log_tail?: string;
  /** Address of the run in MLflow. */
  mlflow?: string;
  /** Whether the piece `requests/RUN` exists. */
  requests?: boolean;
  /** The file that the run was read from. */
  source?: string;
}

// ---- requests/RUN

type LatencyKey = "ttft_ms" | "tpot_ms" | "e2el_ms";

interface RunRequests {
  /** Number of measured requests. */
  measured: number;
  /** Values at 0, 1, ..., 100 %. */
  quantiles: Partial<Record<LatencyKey, (number | null)[]>>;
  histograms: Partial<Record<LatencyKey, Histogram>>;
  timeline: RequestTimeline;
  /** Start and end of the measured window, seconds after the first send. */
  window: [number, number] | null;
  /** The main ones first. */
  lanes: Lane[];
}

interface Histogram {
  counts: number[];
  /** One more than there are counts, in ms. */
  edges: (number | null)[];
}

/** Columns, one entry for each request shown; times are seconds after the first send, -1 is never. */
interface RequestTimeline {
  /** Number of requests in the run, shown or not. */
  total: number;
  sent_s: number[];
  first_s: number[];
  done_s: number[];
  /** Output tokens, -1 is unknown. */
  tokens: number[];
  status: string[];
  phase: string[];
}

/** Series with one unit that are read together. Counters are rates. */
interface Lane {
  title: string;
  unit: string;
  /** Others are shown on request. */
  is_main: boolean;
  lines: LaneLine[];
}

interface LaneLine {
  /** What distinguishes it from the others of its lane: "requests_running", "gpu=0". */
  label: string;
  /** Seconds after the first send. */
  seconds: number[];
  values: (number | null)[];
}

// ---- sweeps/ID

interface SweepData {
  id: string;
  sweep_id: string;
  /** Unix seconds. */
  time: number;
  description: string;
  /** The configuration key that metrics are drawn against. */
  axis: { key: string; unit: string } | null;
  /** The answers of its searches as a table of texts, a chart for each search that has probes, and optimizations. */
  answers: { columns: string[]; rows: string[][]; charts: SearchChart[]; optima: Optimum[] } | null;
  /** One for each script. */
  tables: SweepTable[];
  /** Why runs are not VALID, with the points that share a reason. */
  reasons: string[];
  points: SweepPoint[];
  /** What is drawn against the axis, a chart each: `ttft_ms` with its median and p99. */
  curves: { name: string; metrics: string[]; range: AxisRange }[];
  trade_offs: TradeOff[];
  /** The benchmark's id of each run. */
  benchmarks: Record<string, string>;
  /** Quantiles of the runs whose requests are in the report. */
  quantiles: Record<string, RunRequests["quantiles"]>;
}

/** The probes of a search, the curve that was fitted through them, its limit and its answer. */
interface SearchChart {
  name: string;
  /** The answer in a line. */
  text: string;
  /** The key that the search varied, "" is unknown, with the unit of the answer. */
  key: string;
  unit: string;
  metric: string;
  metric_unit: string;
  /** What is limited: the metric itself, or what it is a ratio to a limit of. */
  value_metric: string;
  limit: number | null;
  limit_text: string;
  /** The answer, and the ends of its interval. */
  interval: [number | null, number | null, number | null];
  /** Place on the axis, value, and the ends of the band. */
  fit: [number, number, number, number][];
  probes: SearchProbe[];
  range: AxisRange;
}

/** The trials of an optimization: as a table of texts, by rank, and which keys matter. */
interface Optimum {
  name: string;
  /** What follows from the trials, a sentence each. */
  lines: string[];
  columns: string[];
  rows: string[][];
  objectives: { name: string; unit: string; range: AxisRange }[];
  trials: OptimumTrial[];
  importance: { key: string; fraction: number; effects: [string, number][] }[];
}

interface OptimumTrial {
  rank: number;
  settings: string;
  status: string;
  reason: string;
  is_best: boolean;
  is_default: boolean;
  is_on_front: boolean;
  /** Value and the ends of its interval, of each objective; empty where nothing was measured. */
  values: [number, number | null, number | null][];
}

interface SearchProbe {
  x: number;
  y: number | null;
  /** Of `value_metric`. */
  value: number | null;
  decision: string;
  requests: number | null;
  /** "" where its run is not in the report. */
  verdict: string;
  run: string;
}

/** The ends of a vertical axis, and how many values lie above it; empty where there are no values. */
interface AxisRange {
  min?: number;
  max?: number;
  above?: number;
}

interface SweepTable {
  script: string;
  metrics: string[];
  /** How many of the metrics, from the first, are key metrics; 0 where the results name none. */
  key: number;
  /** The configuration keys that distinguish the points, with their short names. */
  settings: { key: string; name: string }[];
  points: SweepPointRow[];
  runs: SweepRow[];
}

interface SweepPointRow {
  name: string;
  /** One for each of the table's settings. */
  settings: (string | number | null)[];
  runs: string[];
  /** How many of the runs are usable. */
  usable: number;
  /** The gravest of its runs. */
  verdict: Verdict;
  reasons: string[];
  /** One for each metric of the table. */
  values: (Spread | null)[];
  /** Half of the range of the repeats as a fraction of their median; null for a single one. */
  spreads: (number | null)[];
  /** 0 is the best of its load and 1 the worst; null has no colour. */
  ranks: (number | null)[];
}

interface SweepRow {
  run: string;
  name: string;
  repeat: number;
  verdict: Verdict;
  usable: boolean;
  reasons: string[];
  /** One for each metric of the table. */
  values: (number | null)[];
}

/** Two metrics that are drawn against each other. `front`: positions of the points on the Pareto front. */
interface TradeOff {
  x: string;
  y: string;
  x_range: AxisRange;
  y_range: AxisRange;
  front: number[];
}

/** Median, smallest and largest value of a point's repeats. */
type Spread = [number, number, number];

interface SweepPoint {
  name: string;
  /** Points of the same line differ only in the axis. */
  line: string;
  x: number | null;
  script: string;
  runs: string[];
  /** How many of the runs are INVALID, and how many of the others SUSPECT. */
  invalid: number;
  suspect: number;
  values: Record<string, Spread>;
}

// ---- comparison

interface ComparisonData {
  base: string;
  candidate: string;
  headline: string;
  /** Where the figures of two engines do not mean the same, and where they do. */
  definitions: string[];
  /** What is compared: words that all points share, runs a side, what differs between the sides. */
  sides: string;
  /** Why latencies changed, in a few lines. */
  why: string[];
  exit_code: number;
  problems: string[];
  /** Number of metrics by verdict. */
  counts: Record<string, number>;
  matrix: ComparisonMatrix;
  remarks: string[];
  curves: { axis: { key: string; unit: string } | null; charts: ComparisonChart[] };
  points: PointChange[];
  only_base: string[];
  only_candidate: string[];
  false_alarm_percent: number;
  /** The benchmark's id of each run. */
  benchmarks: Record<string, string>;
}

/** Points by main metrics. One row for each point, in the same order. */
interface ComparisonMatrix {
  /** Words that the names of all points share. */
  shared: string;
  metrics: { name: string; head: string[] }[];
  /** The verdict of a cell is "" where the metric was not compared. */
  rows: { name: string; cells: { text: string; percent: number | null; change: string }[] }[];
  legend: string;
  /** Which metrics have no column because they equal another; "" is none. */
  equal: string;
}

/** One metric against the axis. */
interface ComparisonChart {
  metric: string;
  range: AxisRange;
  lines: {
    name: string;
    base: SidePosition[];
    candidate: SidePosition[];
    /** The verdicts, one for each position. */
    changes: { ratio: number; change: string }[];
  }[];
}

/** Place on the axis, level, smallest and largest run. */
type SidePosition = [number, number, number, number];

interface PointChange {
  label: string;
  /** The side without any usable run; "" is none. */
  invalid: string;
  suspect: boolean;
  differences: string[];
  notes: string[];
  missing: string[];
  base: ComparedRun[];
  candidate: ComparedRun[];
  metrics: MetricChange[];
  /** One for each latency that changed. */
  explanation: Explanation[];
  why: string[];
}

interface Explanation {
  metric: string;
  change_ms: number;
  parts: { name: string; change_ms: number; low_ms: number | null; high_ms: number | null }[];
  adds_up: boolean;
  /** What moved beside it. */
  moved: { name: string; unit: string; base: number | null; candidate: number | null }[];
}

interface ComparedRun {
  run: string;
  verdict: Verdict;
}

interface MetricChange {
  metric: string;
  unit: string;
  better: Better;
  /** Whether it takes part in the decision. */
  is_main: boolean;
  base: number | null;
  candidate: number | null;
  /** Ratio - 1, with the ends of the interval that was decided on. */
  ratio: number | null;
  low: number | null;
  high: number | null;
  change: string;
  /** The verdict in words. */
  verdict_text: string;
}

// ---- Shapes of the scripts

/** What may stand inside an element. */
type Child = Node | string | null | undefined | false | readonly Child[];

type Handler = (event: Event) => void;

/** Attributes by name; functions are event handlers: `onclick`. False, null and undefined leave an attribute out. */
type ElementProperties = Record<string, string | boolean | null | undefined | Handler>;

/** The address after "#": `#/run/ID/FILE?metric=NAME`. */
interface Address {
  path: string[];
  query: Record<string, string>;
}

type Page = (address: Address) => Promise<Child>;

/** A key that a column is sorted by; null comes last. */
type SortKey = string | number | null | undefined;

interface Column<Row> {
  name: string;
  unit?: string;
  title?: string;
  numeric?: boolean;
  /** Whether its cells stay on one line; those of numeric columns do. */
  nowrap?: boolean;
  /** Whether its cells name their rows. */
  head?: boolean;
  cell: (row: Row) => Child;
  sort?: (row: Row) => SortKey;
  /** What stands in a CSV; the figure that the column is sorted by, or the text of the cell, where it is absent. */
  value?: (row: Row) => SortKey;
  /** The class of a cell's colour. */
  shade?: (row: Row) => string;
}

type ChartOption = import("echarts").EChartsOption;
type ChartSeries = import("echarts").SeriesOption;
type LineSeries = import("echarts").LineSeriesOption;
type MarkLines = NonNullable<NonNullable<LineSeries["markLine"]>["data"]>;

/** What ECharts says about a point under the pointer. */
interface ChartPoint<Item = any> {
  value: any;
  data: Item;
  dataIndex: number;
  seriesIndex: number;
  seriesName: string;
}

interface FigureOptions {
  /** Pixels. */
  height?: number;
  /** A sentence below the title. */
  note?: string;
  /** Its lines, named above it. */
  legend?: LegendEntry[];
  /** A legend that stands elsewhere on the page. */
  sharedLegend?: Legend;
  /** Whether it is one of several charts that stand close together. */
  isLane?: boolean;
  /** What screen readers say in place of the chart; the title where it is absent. */
  label?: string;
  onclick?: (event: any) => void;
  /** Charts of one group share their zoom and their pointer. */
  group?: string;
  /** Called with the visible part of the horizontal axis, in percent. */
  onzoom?: (range: ZoomRange) => void;
}

/** A line of a chart: the name of its series, and the CSS variable of its colour. */
interface LegendEntry {
  name: string;
  colour: string;
  dash?: "solid" | "dashed";
  /** Points, not a line. */
  isPoint?: boolean;
}

interface Legend {
  entries: LegendEntry[];
  view: HTMLElement;
  /** The canvases of the charts that it belongs to. */
  canvases: Set<HTMLElement>;
  /** Whether each line is shown. */
  selected: () => Record<string, boolean>;
}

/** A chart of the page. */
interface Chart {
  title: string;
  makeOption: () => ChartOption;
  options: FigureOptions;
  legend?: Legend;
}

interface ZoomRange {
  start: number;
  end: number;
}
