"""Runs each load generator, and reads its report.

An adapter has command(base_url, scenario, out_dir) -> (argv, env, cwd or None)
and parse(out_dir, scenario) -> {"completed", "duration_s", "ttft", "tpot", "itl"}.
Each of the last three is {"mean", "p50", "p99"} in ms, or None if the tool does
not report it. Options come from the command line (bin=..., tokenizer=...).
The scenario has n, rate (req/s or None), concurrency (or None), tokens, words, seed.
"""

import glob
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def three(d, mean, p50, p99, k=1.0):
    return {"mean": d[mean] * k, "p50": d[p50] * k, "p99": d[p99] * k}


class Adapter:
    def __init__(self, **o):
        self.o = o

    def opt(self, k, d=None):
        return self.o.get(k, os.environ.get("BENCH_" + k.upper(), d))


class CRef(Adapter):
    """cclient: bin"""

    def command(self, base, sc, out):
        c = [
            self.opt("bin"),
            "--port",
            base.rsplit(":", 1)[1],
            "--n",
            str(sc["n"]),
            "--tokens",
            str(sc["tokens"]),
            "--words",
            str(sc["words"]),
            "--out",
            f"{out}/r.json",
        ]
        c += ["--rate", str(sc["rate"])] if sc["rate"] else ["--concurrency", str(sc["concurrency"])]
        return c, {}, None

    def parse(self, out, sc):
        return json.load(open(f"{out}/r.json"))


class BenchHydra(Adapter):
    """benchhydra: bin (a Python with benchhydra), tokenizer (a local directory), extra (overrides, joined by +)"""

    def command(self, base, sc, out):
        c = [
            self.opt("bin", sys.executable),
            "-m",
            "benchhydra",
            "script=serving",
            "engine=attach",
            f"engine.base_url={base}",
            "model=custom",
            "model.id=mock",
            f"model.tokenizer={self.opt('tokenizer')}",
            "dataset=synthetic",
            f"dataset.prompt_tokens={sc['words']}",
            f"dataset.output_tokens={sc['tokens']}",
            f"num_prompts={sc['n']}",
            f"seed={sc['seed']}",
            "script.warmup_requests=0",
            f"tracking={self.opt('tracking', 'none')}",
            f"hydra.run.dir={out}/run",
        ]
        c += (
            ["load=poisson", f"qps={sc['rate']}"]
            if sc["rate"]
            else ["load=concurrency", f"load.max_in_flight={sc['concurrency']}"]
        )
        c += [o for o in (self.opt("extra") or "").split("+") if o]
        return c, {"HF_HUB_OFFLINE": "1"}, None

    def parse(self, out, sc):
        d = json.load(open(f"{out}/run/result.json"))
        m = {k: v["value"] for k, v in d["metrics"].items()}
        r = {"completed": d["metadata"]["completed"], "duration_s": d["metadata"]["duration"]}
        for k, name in (("ttft", "ttft"), ("tpot", "tpot"), ("itl", "itl"), ("e2e", "e2el")):
            r[k] = (
                three(m, f"mean_{name}_ms", f"median_{name}_ms", f"p99_{name}_ms") if f"mean_{name}_ms" in m else None
            )
        return r


class VllmBench(Adapter):
    """vllm bench serve: bin (the vllm command), tokenizer (a local directory)"""

    def command(self, base, sc, out):
        c = [
            self.opt("bin", "vllm"),
            "bench",
            "serve",
            "--backend",
            "openai",
            "--base-url",
            base,
            "--endpoint",
            "/v1/completions",
            "--model",
            "mock",
            "--tokenizer",
            self.opt("tokenizer"),
            "--dataset-name",
            "random",
            "--random-input-len",
            str(sc["words"]),
            "--random-output-len",
            str(sc["tokens"]),
            "--num-prompts",
            str(sc["n"]),
            "--seed",
            str(sc["seed"]),
            "--ignore-eos",
            "--disable-tqdm",
            "--ready-check-timeout-sec",
            "0",
            "--save-result",
            "--result-dir",
            out,
            "--result-filename",
            "r.json",
            "--percentile-metrics",
            "ttft,tpot,itl,e2el",
            "--metric-percentiles",
            "50,99",
        ]
        c += ["--request-rate", str(sc["rate"])] if sc["rate"] else ["--max-concurrency", str(sc["concurrency"])]
        return c, {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}, None

    def parse(self, out, sc):
        d = json.load(open(f"{out}/r.json"))
        r = {"completed": d["completed"], "duration_s": d["duration"]}
        for m in ("ttft", "tpot", "itl"):
            r[m] = three(d, f"mean_{m}_ms", f"p50_{m}_ms", f"p99_{m}_ms")
        return r


class GuideLLM(Adapter):
    """guidellm >= 0.8: bin, tokenizer, workers (default: its own)

    Its inter_token_latency is a mean per request, i.e. a TPOT; its own
    time_per_output_token is latency / tokens and includes the first token."""

    def command(self, base, sc, out):
        prof = f"kind=poisson,rate={sc['rate']}" if sc["rate"] else f"kind=concurrent,streams={sc['concurrency']}"
        c = [
            self.opt("bin", "guidellm"),
            "run",
            "--backend",
            f"kind=openai_http,target={base},model=mock,request_format=/v1/completions",
            "--profile",
            prof,
            "--constraint",
            f"kind=max_requests,count={sc['n']}",
            "--tokenizer",
            f"kind=hf_auto,model={self.opt('tokenizer')}",
            "--data",
            f"kind=synthetic_text,prompt_tokens={sc['words']},output_tokens={sc['tokens']}",
            "--output",
            f"kind=json,path={out}/r.json",
            "--disable-console-interactive",
        ]
        env = {"HF_HUB_OFFLINE": "1"}
        if self.opt("workers"):
            env["GUIDELLM__MAX_WORKER_PROCESSES"] = self.opt("workers")
        return c, env, None

    def parse(self, out, sc):
        b = json.load(open(f"{out}/r.json"))["benchmarks"][0]
        m = b["metrics"]
        g = lambda k: (lambda d: {"mean": d["mean"], "p50": d["percentiles"]["p50"], "p99": d["percentiles"]["p99"]})(
            m[k]["successful"]
        )
        return {
            "completed": m["request_totals"]["successful"],
            "duration_s": b["duration"],
            "ttft": g("time_to_first_token_ms"),
            "tpot": g("inter_token_latency_ms"),
            "itl": None,
        }


class AIPerf(Adapter):
    """aiperf: bin, tokenizer, workers (default: its own)

    Its inter_token_latency is a mean per request, i.e. a TPOT."""

    def command(self, base, sc, out):
        c = [
            self.opt("bin", "aiperf"),
            "profile",
            "-m",
            "mock",
            "--url",
            base,
            "--endpoint-type",
            "completions",
            "--streaming",
            "--tokenizer",
            self.opt("tokenizer"),
            "--isl",
            str(sc["words"]),
            "--osl",
            str(sc["tokens"]),
            "--request-count",
            str(sc["n"]),
            "--ui",
            "none",
            "--artifact-dir",
            out,
            "--no-gpu-telemetry",
            "--no-server-metrics",
            "--use-server-token-count",
            "--extra-inputs",
            "ignore_eos:true",
            "--random-seed",
            str(sc["seed"]),
        ]
        c += (
            ["--request-rate", str(sc["rate"]), "--request-rate-mode", "poisson"]
            if sc["rate"]
            else ["--concurrency", str(sc["concurrency"])]
        )
        if self.opt("workers"):
            c += ["--workers-max", self.opt("workers")]
        return c, {}, None

    def parse(self, out, sc):
        d = json.load(open(f"{out}/profile_export_aiperf.json"))
        g = lambda k: three(d[k], "avg", "p50", "p99")
        return {
            "completed": d["request_count"]["avg"],
            "duration_s": d["benchmark_duration"]["avg"],
            "ttft": g("time_to_first_token"),
            "tpot": g("inter_token_latency"),
            "itl": None,
        }


class InferencePerf(Adapter):
    """inference-perf: bin, tokenizer, workers (default: its own)"""

    def command(self, base, sc, out):
        if sc["rate"]:
            load = {
                "type": "poisson",
                "interval": 1,
                "stages": [{"rate": sc["rate"], "duration": max(1, round(sc["n"] / sc["rate"]))}],
            }
        else:
            load = {
                "type": "concurrent",
                "interval": 1,
                "stages": [{"num_requests": sc["n"], "concurrency_level": sc["concurrency"]}],
            }
        if self.opt("workers"):
            load["num_workers"] = int(self.opt("workers"))
        d = lambda k: {"min": k, "max": k, "mean": k, "std_dev": 0, "total_count": sc["n"]}
        cfg = {
            "load": load,
            "api": {"type": "completion", "streaming": True},
            "server": {"type": "vllm", "model_name": "mock", "base_url": base, "ignore_eos": True},
            "tokenizer": {"pretrained_model_name_or_path": self.opt("tokenizer")},
            "data": {"type": "random", "input_distribution": d(sc["words"]), "output_distribution": d(sc["tokens"])},
            "report": {
                "request_lifecycle": {"summary": True, "per_stage": True, "per_request": False, "percentiles": [50, 99]}
            },
            "storage": {"local_storage": {"path": f"{out}/rep"}},
        }
        json.dump(cfg, open(f"{out}/c.yml", "w"))
        return [self.opt("bin", "inference-perf"), "-c", f"{out}/c.yml"], {"HF_HUB_OFFLINE": "1"}, None

    def parse(self, out, sc):
        d = json.load(open(glob.glob(f"{out}/rep/**/summary_lifecycle_metrics.json", recursive=True)[0]))
        s = d["successes"]
        L = s["latency"]
        g = lambda k: three(L[k], "mean", "median" if "median" in L[k] else "p50", "p99", 1e3) if L.get(k) else None
        return {
            "completed": s["count"],
            "duration_s": None,
            "ttft": g("time_to_first_token"),
            "tpot": g("time_per_output_token"),
            "itl": g("inter_token_latency"),
        }


KINDS = {
    "benchhydra": BenchHydra,
    "cref": CRef,
    "vllm": VllmBench,
    "guidellm": GuideLLM,
    "aiperf": AIPerf,
    "infperf": InferencePerf,
}


def make(spec):
    kind, _, opts = spec.partition(":")
    return KINDS[kind](**dict(o.split("=", 1) for o in opts.split(",") if o))
