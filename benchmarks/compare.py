#!/usr/bin/env python3
"""Side-by-side measurements of LLM load generators against mockserver.

  python compare.py --server ./mockserver --client name=adapter[:key=value,...] ... \
      --scenarios flood,rate,mem,start --out results.json

Standard library only. An adapter is a class in adapters.py that runs a client
and reads its report. See README.md.
"""

import argparse
import contextlib
import json
import os
import resource
import shutil
import signal
import statistics
import struct
import subprocess
import tempfile
import threading
import time
import urllib.request

import adapters
import shortcut

TICK = os.sysconf("SC_CLK_TCK")


def pct(v, q):
    if not v:
        return float("nan")
    x = (len(v) - 1) * q
    i = int(x)
    j = min(i + 1, len(v) - 1)
    return v[i] + (v[j] - v[i]) * (x - i)


def dist(v):
    v = sorted(v)
    return {
        "mean": sum(v) / len(v) if v else float("nan"),
        "p50": pct(v, 0.5),
        "p99": pct(v, 0.99),
        "max": v[-1] if v else float("nan"),
    }


class Server:
    """The mock server as a child process, with its ground truth."""

    def __init__(self, path, port, cores, nice, cert=None, metrics=None):
        self.base = self.base_for_clients = f"http://127.0.0.1:{port}"
        cmd = [path, "--port", str(port)]
        if cert:
            cmd += ["--tls-port", str(port + 1), "--cert", cert, "--key", cert]
            self.base_for_clients = f"https://127.0.0.1:{port + 1}"
        cmd += ["--metrics", str(metrics)] if metrics else []
        cmd = wrap(cmd, cores, nice)
        self.p = subprocess.Popen(cmd, stderr=subprocess.DEVNULL)
        for _ in range(100):
            try:
                self.get("/health")
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit("mock server did not start")

    def get(self, path):
        return urllib.request.urlopen(self.base + path, timeout=30).read()

    def control(self, ttft=0, itl=0, coalesce=1, ttft_sigma=0, itl_sigma=0):
        self.get(f"/control?ttft={ttft}&itl={itl}&coalesce={coalesce}&ttft_sigma={ttft_sigma}&itl_sigma={itl_sigma}")

    def stats(self):
        return json.loads(self.get("/stats"))

    def truth(self):
        return [(arr, end, conn, flags, tokens, times) for arr, _, end, conn, flags, tokens, times in self.requests()]

    def first_bytes(self):
        """Return when the first byte of each request was read, in ns."""
        return [first for _, first, *_ in self.requests()]

    def requests(self):
        b = self.get("/truth")
        n = struct.unpack_from("<Q", b, 8)[0]
        off = 16
        for _ in range(n):
            arr, first, end, conn, port, k, tokens, body, flags = struct.unpack_from("<QQQIIIIII", b, off)
            off += 48
            yield arr, first, end, conn, flags, tokens, struct.unpack_from(f"<{k}Q", b, off)
            off += 8 * k

    def stop(self):
        self.p.terminate()
        self.p.wait()


def wrap(cmd, cores, nice):
    if cores:
        cmd = ["taskset", "-c", cores] + cmd
    if nice:
        cmd = ["nice", "-n", str(nice)] + cmd
    return cmd


def prefer(pid, nice):
    """Set the nice value of a session: kernels that group tasks by session apply nice only within one."""
    try:
        with open(f"/proc/{pid}/autogroup", "w") as f:
            f.write(str(nice))
    except OSError:
        pass


def cores_busy():
    """Busy seconds per core: wall time minus the kernel's idle time (exact, unlike the tick-sampled busy times)."""
    out = {}
    now = time.monotonic()
    for line in open("/proc/stat"):
        f = line.split()
        if f[0].startswith("cpu") and f[0] != "cpu":
            v = [int(x) for x in f[1:9]]
            out[int(f[0][3:])] = (now - (v[3] + v[4]) / TICK, v[7] / TICK)
    return out


def tree(root):
    kids = {}
    for d in os.listdir("/proc"):
        if d.isdigit():
            try:
                s = open(f"/proc/{d}/stat").read()
            except OSError:
                continue
            kids.setdefault(int(s[s.rindex(")") + 2 :].split()[1]), []).append(int(d))
    out, todo = [], [root]
    while todo:
        p = todo.pop()
        out.append(p)
        todo += kids.get(p, [])
    return out


class Watch(threading.Thread):
    """Peak memory (sum of PSS and of RSS over the process tree), process count,
    and a timeline of (time, busy seconds of the client's cores, CPU seconds of the tree)."""

    def __init__(self, pid, every, own):
        super().__init__(daemon=True)
        self.pid = pid
        self.every = every
        self.pss = self.rss = self.procs = 0
        self.go = True
        self.own = own
        self.line = []
        self.cpu = {}

    def window(self, a, b):
        """(busy, tree CPU, seconds) between the samples just inside a..b, or None."""
        v = [x for x in self.line if a <= x[0] <= b]
        return (v[-1][1] - v[0][1], v[-1][2] - v[0][2], v[-1][0] - v[0][0]) if len(v) > 2 else None

    def run(self):
        while self.go:
            pss = rss = n = 0
            for p in tree(self.pid):
                try:
                    for line in open(f"/proc/{p}/smaps_rollup"):
                        if line.startswith("Pss:"):
                            pss += int(line.split()[1])
                        elif line.startswith("Rss:"):
                            rss += int(line.split()[1])
                    f = open(f"/proc/{p}/stat").read().rsplit(")", 1)[1].split()
                    self.cpu[p] = (int(f[11]) + int(f[12])) / TICK
                    n += 1
                except OSError:
                    pass
            b = cores_busy()
            self.line.append((time.monotonic(), sum(b[c][0] for c in self.own), sum(self.cpu.values())))
            self.pss = max(self.pss, pss)
            self.rss = max(self.rss, rss)
            self.procs = max(self.procs, n)
            time.sleep(self.every)


def run(server, adapter, sc, cores, nice, timeout, mem=False):
    """Run a client once. Returns its report, the server's record, and the CPU time and memory that it took."""
    out = tempfile.mkdtemp(prefix="cmp_")
    cmd, env, cwd = adapter.command(server.base_for_clients, sc, out)
    server.get("/reset")
    s0 = server.stats()
    b0 = cores_busy()
    r0 = resource.getrusage(resource.RUSAGE_CHILDREN)
    t0 = time.monotonic()
    log = open(os.path.join(out, "log.txt"), "wb")
    p = subprocess.Popen(
        wrap(cmd, cores, nice),
        env={**os.environ, **env},
        cwd=cwd or out,
        stdout=log,
        stderr=log,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    if nice:
        prefer(p.pid, nice)
    own = {int(c) for c in cores.split(",")} if cores else set()
    w = Watch(p.pid, 0.1 if mem else 0.25, own)
    w.start()
    try:
        rc = p.wait(timeout)
    except subprocess.TimeoutExpired:
        for q in reversed(tree(p.pid)):
            try:
                os.kill(q, signal.SIGKILL)
            except OSError:
                pass
        p.wait()
        rc = "timeout"
    t1 = time.monotonic()
    w.go = False
    w.join()
    r1 = resource.getrusage(resource.RUSAGE_CHILDREN)
    b1 = cores_busy()
    s1 = server.stats()
    cpu = r1.ru_utime + r1.ru_stime - r0.ru_utime - r0.ru_stime
    res = {
        "rc": rc,
        "wall_s": t1 - t0,
        "cpu_s": cpu,
        "server_cpu_s": s1["cpu_s"] - s0["cpu_s"],
        "procs": w.procs,
        "peak_pss_mb": w.pss / 1024,
        "peak_rss_mb": w.rss / 1024,
        "server_late_mean_us": s1["late_mean_us"],
        "server_late_max_us": s1["late_max_us"],
        "aborts": s1["aborts"],
        "conns": s1["accepts"] - 1,
    }
    res["client_core_busy_s"] = sum(b1[c][0] - b0[c][0] for c in own)
    res["client_core_others_s"] = res["client_core_busy_s"] - cpu  # used by others
    tr = server.truth()
    tr = [t for t in tr if t[4] == sc["tokens"]][-sc["n"] :]  # drops warm-up probes of other lengths
    if tr:
        arr = sorted(t[0] for t in tr)
        full = [t for t in tr if len(t[5]) == t[4]]
        first, last = arr[0], max(t[1] for t in tr)
        res["truth"] = {
            "requests": len(tr),
            "complete": len(full),
            "span_s": (last - first) / 1e9,
            "send_span_s": (arr[-1] - arr[0]) / 1e9,
            "rate_sent": (len(arr) - 1) / ((arr[-1] - arr[0]) / 1e9) if len(arr) > 1 else float("nan"),
            "req_per_s": len(full) / ((last - first) / 1e9),
            "chunks_per_s": sum(len(t[5]) for t in tr) / ((last - first) / 1e9),
            "first_request_s": first / 1e9 - t0,
            "after_last_s": t1 - last / 1e9,
            "ttft": dist([(t[5][0] - t[0]) / 1e6 for t in full]),
            "tpot": dist([(t[5][-1] - t[5][0]) / 1e6 / (len(t[5]) - 1) for t in full if len(t[5]) > 1]),
            "itl": dist([(b - a) / 1e6 for t in full for a, b in zip(t[5], t[5][1:])]),
            "e2e": dist([(t[1] - t[0]) / 1e6 for t in tr if t[5]]),  # answers in one piece have one time
        }
        v = w.window(first / 1e9, last / 1e9)
        if v:
            res["window"] = {"seconds": v[2], "client_cpu_s": v[1], "others_s": v[0] - v[1]}
        gaps = [(b - a) / 1e9 for a, b in zip(arr, arr[1:])]
        if len(gaps) > 2:
            res["truth"]["gap_cv"] = statistics.pstdev(gaps) / statistics.mean(gaps)
    try:
        res["reported"] = adapter.parse(out, sc)
    except Exception as e:
        res["parse_error"] = repr(e)
        res["log_tail"] = open(os.path.join(out, "log.txt"), errors="replace").read()[-1500:]
    if not os.environ.get("KEEP"):
        shutil.rmtree(out, ignore_errors=True)
    return res


def wait_quiet(limit):
    """Wait until the machine is nearly idle, for at most limit seconds."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        a = cores_busy()
        time.sleep(0.5)
        b = cores_busy()
        if max(b[c][0] - a[c][0] for c in b) < 0.06:
            return True
    return False


def dirty(r):
    """The disturbance: fraction of the client's core(s) used by others, plus the server's mean lateness / 5 ms."""
    w = r.get("window")
    o = w["others_s"] / w["seconds"] if w else r["client_core_others_s"] / r["wall_s"]
    return max(0.0, o) + r["server_late_mean_us"] / 5000


def short(name, sc, r):
    t = r.get("truth", {})
    p = r.get("reported", {})
    err = lambda m, q: f"{p[m][q] - t[m][q]:+.2f}" if p.get(m) and t.get(m) and p[m].get(q) is not None else "?"
    return (
        f"{name:18} {sc['name']:10} rc={r['rc']} wall={r['wall_s']:.1f} cpu={r['cpu_s']:.2f} srv_cpu={r['server_cpu_s']:.2f} dirty={dirty(r):.2f} win={r.get('window', {}).get('client_cpu_s', 0):.2f}/{r.get('window', {}).get('seconds', 0):.2f}s "
        f"procs={r['procs']} pss={r['peak_pss_mb']:.0f} n={t.get('complete')} req/s={t.get('req_per_s', 0):.1f} chunk/s={t.get('chunks_per_s', 0):.0f} sent={t.get('rate_sent', 0):.1f} cv={t.get('gap_cv', 0):.2f} "
        f"late={r['server_late_mean_us']:.0f}us first={t.get('first_request_s', 0):.2f} | ttft err {err('ttft', 'mean')}/{err('ttft', 'p50')}/{err('ttft', 'p99')} tpot err {err('tpot', 'mean')}/{err('tpot', 'p50')}/{err('tpot', 'p99')} itl err {err('itl', 'mean')}/{err('itl', 'p50')}/{err('itl', 'p99')} e2e err {err('e2e', 'mean')}/{err('e2e', 'p50')}/{err('e2e', 'p99')}"
        + (" PARSE " + r["parse_error"] if "parse_error" in r else "")
    )


def scenarios(which, a):
    out = []
    base = {"tokens": a.tokens, "words": a.words, "rate": None, "concurrency": None, "seed": 1}
    for w in which.split(","):
        k, _, v = w.partition(":")
        if k == "flood":  # closed loop, no server delay: v = number of requests
            out.append({**base, "name": w, "n": int(v or 2000), "concurrency": a.concurrency, "srv": {"coalesce": 1}})
        elif k == "burst":  # the same, one send() per 16 tokens
            out.append({**base, "name": w, "n": int(v or 2000), "concurrency": a.concurrency, "srv": {"coalesce": 16}})
        elif k == "rate":  # open loop, TTFT 50 ms, ITL 10 ms
            r = float(v)
            out.append({**base, "name": w, "n": max(20, int(r * a.seconds)), "rate": r, "srv": {"ttft": 50, "itl": 10}})
        elif k == "lognormal":  # the same with times that vary
            r = float(v)
            srv = {"ttft": 50, "itl": 10, "ttft_sigma": 0.5, "itl_sigma": 0.3}
            out.append({**base, "name": w, "n": max(20, int(r * a.seconds)), "rate": r, "srv": srv})
        elif k == "paced":  # closed loop at v streams, ITL 10 ms
            c = int(v)
            out.append({**base, "name": w, "n": c * 8, "concurrency": c, "srv": {"ttft": 50, "itl": 10}})
        elif k == "mem":
            out.append(
                {**base, "name": w, "n": int(v), "concurrency": a.concurrency, "srv": {"coalesce": 16}, "mem": True}
            )
        elif k == "start":
            out.append({**base, "name": w, "n": 1, "concurrency": 1, "srv": {}})
        else:
            raise SystemExit(f"unknown scenario {w}")
    return out


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--server", required=True)
    ap.add_argument("--port", type=int, default=8911)
    ap.add_argument("--tls", help="serve clients over TLS with this certificate and key, in one file")
    ap.add_argument("--shortcut", action="store_true", help="bypass TCP and IP: see shortcut.bpf.c")
    ap.add_argument("--client", action="append", default=[], help="name=adapter[:key=value,...]")
    ap.add_argument("--scenarios", default="start,flood:2000,rate:10,rate:50,rate:100,rate:200,mem:2000,mem:20000")
    ap.add_argument("--server-cores", default="0")
    ap.add_argument("--cores", default="1")
    ap.add_argument("--nice", type=int, default=0)
    ap.add_argument("--tokens", type=int, default=64)
    ap.add_argument("--words", type=int, default=128)
    ap.add_argument("--concurrency", type=int, default=32)
    ap.add_argument("--seconds", type=float, default=8, help="sending time of an open-loop run")
    ap.add_argument("--repeat", type=int, default=1)
    ap.add_argument("--retries", type=int, default=1, help="how often to repeat a run that others disturbed")
    ap.add_argument("--clean", type=float, default=0.12, help="disturbance below which a run is kept")
    ap.add_argument("--quiet", type=float, default=5)
    ap.add_argument("--timeout", type=float, default=90)
    ap.add_argument("--out", default="results.jsonl")
    a = ap.parse_args()
    os.sched_setaffinity(0, {int(c) for c in a.server_cores.split(",")} if a.server_cores else os.sched_getaffinity(0))
    if a.nice:
        prefer("self", max(-20, a.nice - 5))
    way = shortcut.shortcut(a.port) if a.shortcut else contextlib.nullcontext()
    srv = Server(a.server, a.port, a.server_cores, a.nice - 5 if a.nice else 0, a.tls)
    try:
        with way, open(a.out, "a") as f:
            for spec in a.client:
                name, _, rest = spec.partition("=")
                ad = adapters.make(rest or name)
                for sc in scenarios(a.scenarios, a):
                    for k in range(a.repeat):
                        r = None
                        for _ in range(1 + a.retries):  # keep the least disturbed of the tries
                            wait_quiet(a.quiet)
                            srv.control(**sc["srv"])
                            q = run(srv, ad, sc, a.cores, a.nice, a.timeout, sc.get("mem", False))
                            if r is None or dirty(q) < dirty(r):
                                r = q
                            if dirty(r) < a.clean:
                                break
                        r["dirty"] = dirty(r)
                        print(short(name, sc, r), flush=True)
                        if r["rc"] not in (0,) and "log_tail" in r:
                            print("   ", r["log_tail"][-600:].replace("\n", "\n    "))
                        f.write(
                            json.dumps(
                                {
                                    "client": name,
                                    "scenario": sc["name"],
                                    "cores": a.cores,
                                    "shortcut": a.shortcut,
                                    "rep": k,
                                    **r,
                                }
                            )
                            + "\n"
                        )
                        f.flush()
    finally:
        srv.stop()


if __name__ == "__main__":
    main()
