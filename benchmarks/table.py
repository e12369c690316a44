#!/usr/bin/env python3
"""Print the comparison tables from one or more results files of compare.py (medians of repeats)."""

import json
import statistics
import sys

rows = {}
order = []
for p in sys.argv[1:]:
    for line in open(p):
        d = json.loads(line)
        name = d["client"] + ("" if d["cores"] == "1" else f" [cores {d['cores']}]")
        if name not in order:
            order.append(name)
        rows.setdefault((name, d["scenario"]), []).append(d)


def m(name, sc, f, fmt="{:.1f}"):
    v = []
    for r in rows.get((name, sc), []):
        try:
            x = f(r)
        except (KeyError, TypeError, ZeroDivisionError):
            continue
        if x is not None and x == x:
            v.append(x)
    return fmt.format(statistics.median(v)) + (f" (n={len(v)})" if len(v) > 1 else "") if v else "-"


def head(*h):
    print("\n| " + " | ".join(h) + " |\n|" + "---|" * len(h))


def row(*c):
    print("| " + " | ".join(str(x) for x in c) + " |")


def scen(k):
    return sorted({s for _, s in rows if s.split(":")[0] == k}, key=lambda s: float(s.split(":")[1] if ":" in s else 0))


def ok(r):
    return r["rc"] == 0 or None


print("### (a) saturation: closed loop, no server delay")
head("client", "scenario", "req/s", "chunks/s", "server CPU fraction", "disturbance")
for n in order:
    for s in scen("flood") + scen("burst"):
        if (n, s) in rows:
            row(
                n,
                s,
                m(n, s, lambda r: r["truth"]["req_per_s"]),
                m(n, s, lambda r: r["truth"]["chunks_per_s"], "{:.0f}"),
                m(n, s, lambda r: r["server_cpu_s"] / r["truth"]["span_s"], "{:.2f}"),
                m(n, s, lambda r: r["dirty"], "{:.2f}"),
            )

print("\n### (b) client CPU seconds")
head(
    "client",
    "scenario",
    "in the sending window, per 1,000 requests",
    "per 100k chunks",
    "whole process, per 1,000 requests more (mem:20000 - mem:2000)",
)
for n in order:
    for s in scen("rate"):
        if (n, s) in rows:
            w = lambda r: r["window"]["client_cpu_s"] / r["window"]["seconds"] / r["truth"]["req_per_s"] * 1e3
            g = lambda s: statistics.median(r["cpu_s"] for r in rows[(n, s)] if r["rc"] == 0)
            try:
                marg = f"{(g('mem:20000') - g('mem:2000')) / 18:.2f}"
            except (KeyError, statistics.StatisticsError):
                marg = "-"
            row(n, s, m(n, s, w, "{:.2f}"), m(n, s, lambda r: w(r) / 64 * 100, "{:.2f}"), marg)

print("\n### (c) accuracy: reported minus true, ms (TTFT 50 ms, ITL 10 ms)")
head(
    "client",
    "asked req/s",
    "sent req/s",
    "gap CV",
    "TTFT mean/p50/p99",
    "TPOT mean/p50/p99",
    "ITL mean/p50/p99",
    "disturbance",
    "server late us",
)
for n in order:
    for s in scen("rate"):
        if (n, s) in rows:
            e = lambda k: "/".join(
                m(n, s, lambda r, q=q: r["reported"][k][q] - r["truth"][k][q], "{:+.2f}")
                for q in ("mean", "p50", "p99")
            )
            row(
                n,
                s.split(":")[1],
                m(n, s, lambda r: r["truth"]["rate_sent"]),
                m(n, s, lambda r: r["truth"]["gap_cv"], "{:.2f}"),
                e("ttft"),
                e("tpot"),
                e("itl"),
                m(n, s, lambda r: r["dirty"], "{:.2f}"),
                m(n, s, lambda r: r["server_late_mean_us"], "{:.0f}"),
            )

print("\n### (d) memory")
head("client", "run", "processes", "peak PSS MB", "peak summed RSS MB", "wall s", "complete", "exit")
for n in order:
    for s in scen("mem"):
        if (n, s) in rows:
            row(
                n,
                s,
                m(n, s, lambda r: r["procs"], "{:.0f}"),
                m(n, s, lambda r: r["peak_pss_mb"], "{:.0f}"),
                m(n, s, lambda r: r["peak_rss_mb"], "{:.0f}"),
                m(n, s, lambda r: r["wall_s"]),
                m(n, s, lambda r: r["truth"]["complete"], "{:.0f}"),
                rows[(n, s)][-1]["rc"],
            )

print("\n### (e) one request")
head("client", "start to first request s", "last byte to exit s", "wall s", "CPU s", "spread of first request s")
for n in order:
    if (n, "start") in rows:
        v = [r["truth"]["first_request_s"] for r in rows[(n, "start")] if "truth" in r]
        row(
            n,
            m(n, "start", lambda r: r["truth"]["first_request_s"], "{:.2f}"),
            m(n, "start", lambda r: r["truth"]["after_last_s"], "{:.2f}"),
            m(n, "start", lambda r: r["wall_s"], "{:.2f}"),
            m(n, "start", lambda r: r["cpu_s"], "{:.2f}"),
            f"{min(v):.2f}-{max(v):.2f}" if v else "-",
        )
