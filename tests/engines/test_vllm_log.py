"""vLLM's log of a start: figures in the wording of several versions, and times from the stamps of its lines."""

from __future__ import annotations

import time

import pytest

from benchhydra.engines.starts import StartPhases
from benchhydra.engines.vllm_log import start_phase, start_phases

#: vLLM 0.32 on CPU, eager, as it was written; shortened.
CPU_032 = """\
Triton is installed, but doesn't include CPU backend. Disabling Triton.
(APIServer pid=13674) INFO 11-26 06:49:46 [api_utils.py:347]   █▄█▀ █     █     █     █  model   /cache/tiny-v1
(APIServer pid=13674) INFO 11-26 06:49:46 [api_utils.py:286] non-default args: {'model': '/cache/tiny-v1'}
(APIServer pid=13674) INFO 11-26 06:49:58 [model.py:733] Resolved architecture: LlamaForCausalLM
(EngineCore pid=13856) INFO 11-26 06:50:07 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: model='x'
(Worker pid=13926) INFO 11-26 06:50:17 [cpu_model_runner.py:68] Starting to load model /cache/tiny-v1...
(Worker pid=13926) INFO 11-26 06:50:18 [base_loader.py:82] Initializing model took 0.581507 seconds
Loading safetensors checkpoint shards: 100% Completed | 1/1 [00:00<00:00, 67.55it/s]
(Worker pid=13926) INFO 11-26 06:50:18 [default_loader.py:501] Loading weights took 0.02 seconds
(Worker pid=13926) INFO 11-26 06:50:19 [cpu_worker.py:260] Explicitly set (1.0/9.09) GiB for KV cache on node 0.
(EngineCore pid=13856) INFO 11-26 06:50:19 [kv_cache_utils.py:2327] CPU KV cache size: 524,288 tokens, Maximum ...
(EngineCore pid=1) INFO 11-26 06:50:21 [core.py:402] init engine (profile, create kv cache, warmup model) took 2.65 s
INFO:     Application startup complete.
"""
#: V1 on two GPUs (2026), with a compilation of the draft model too.
V1_TP2 = """\
(Worker_TP0 pid=98) INFO 06-02 10:00:12 [gpu_model_runner.py:4820] Starting to load model org/model...
(Worker_TP0 pid=98) INFO 06-02 10:00:40 [default_loader.py:384] Loading weights took 24.84 seconds
(Worker_TP1 pid=99) INFO 06-02 10:00:42 [default_loader.py:384] Loading weights took 26.10 seconds
(Worker_TP0) INFO 06-02 10:00:43 [gpu_model_runner.py:48] Model loading took 12.66 GiB memory and 31.657031 seconds
(Worker_TP1) INFO 06-02 10:00:44 [gpu_model_runner.py:48] Model loading took 12.7 GiB memory and 32.100000 seconds
(Worker_TP0 pid=98) INFO 06-02 10:00:51 [backends.py:1128] Dynamo bytecode transform time: 3.54 s
(Worker_TP0 pid=98) INFO 06-02 10:01:11 [backends.py:393] Compiling a graph for compile range (1, 8192) takes 13.29 s
(Worker_TP0 pid=98) INFO 06-02 10:01:12 [monitor.py:53] [backbone] torch.compile took 17.85 s in total
(Worker_TP0 pid=98) INFO 06-02 10:01:13 [monitor.py:53] [eagle_head] torch.compile took 2.00 s in total
(Worker_TP0 pid=98) INFO 06-02 10:01:14 [gpu_worker.py:760] Available KV cache memory: 47.39 GiB
(EngineCore pid=90) INFO 06-02 10:01:14 [kv_cache_utils.py:1316] GPU KV cache size: 1,443,648 tokens
(Worker_TP0 pid=98) INFO 06-02 10:01:30 [gpu_model_runner.py:6582] Graph capturing finished in 15 secs, took 0.73 GiB
(Worker_TP1 pid=99) INFO 06-02 10:01:30 [gpu_model_runner.py:6582] Graph capturing finished in 16 secs, took 0.71 GiB
(Worker_TP0 pid=98) INFO 06-02 10:01:31 [mm_encoder.py:95] Encoder graph capturing finished in 99 secs, took 9.00 GiB
10:01:31 init engine (profile, create kv cache, warmup model) took 47.24 s (compilation: 19.85 s)
"""
#: V1 on one GPU (2025).
V1 = """\
INFO 06-19 23:05:01 [loader.py:447] Loading weights took 0.69 seconds
INFO 06-19 23:05:01 [gpu_model_runner.py:1273] Model loading took 3.4213 GiB and 0.902026 seconds
INFO 06-19 23:05:18 [monitor.py:33] torch.compile takes 7.51 s in total
INFO 06-19 23:05:18 [kv_cache_utils.py:578] GPU KV cache size: 613,024 tokens
INFO 06-19 23:05:35 [gpu_model_runner.py:1608] Graph capturing finished in 17 secs, took 0.48 GiB
INFO 06-19 23:05:35 [core.py:162] init engine (profile, create kv cache, warmup model) took 34.11 seconds
"""
#: V0 on one GPU.
V0 = """\
INFO 03-01 10:09:26 model_runner.py:1116] Loading model weights took 14.9888 GB
INFO 03-01 10:09:39 worker.py:266] the rest of the memory reserved for KV Cache is 33.37GiB.
INFO 03-01 10:09:58 model_runner.py:1562] Graph capturing finished in 18 secs, took 0.20 GiB
INFO 03-01 10:09:58 llm_engine.py:431] init engine (profile, create kv cache, warmup model) took 20.92 seconds
"""


def local_s(text: str) -> float:
    return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M:%S"))


def phases(log: str) -> StartPhases:
    """Without times."""
    return start_phases(log, 0.0, 0.0)


def test_a_start_on_cpu() -> None:
    started_s = local_s("2026-11-26 06:49:36")
    assert start_phases(CPU_032, started_s, started_s + 47) == StartPhases(
        imports_s=10.5,
        setup_s=41.5,
        weights_s=0.02,
        engine_init_s=2.65,
        kv_cache_memory_gib=1.0,
        kv_cache_tokens=524_288,
    )


def test_of_two_workers_the_slower_counts_and_of_two_compilations_the_sum() -> None:
    assert phases(V1_TP2) == StartPhases(
        model_load_s=32.1,
        weights_s=26.1,
        engine_init_s=47.24,
        compilation_s=19.85,
        graph_capture_s=16,
        model_memory_gib=12.7,
        kv_cache_memory_gib=47.39,
        graph_memory_gib=0.73,
        kv_cache_tokens=1_443_648,
    )


def test_earlier_wordings() -> None:
    assert phases(V1) == StartPhases(
        model_load_s=0.902026,
        weights_s=0.69,
        engine_init_s=34.11,
        compilation_s=7.51,
        graph_capture_s=17,
        model_memory_gib=3.4213,
        graph_memory_gib=0.48,
        kv_cache_tokens=613_024,
    )
    assert phases(V0) == StartPhases(
        engine_init_s=20.92,
        graph_capture_s=18,
        model_memory_gib=14.9888,
        kv_cache_memory_gib=33.37,
        graph_memory_gib=0.20,
    )


@pytest.mark.parametrize(
    "line",
    [
        "torch.compile and initial profiling run took 29.93 s in total",
        "torch.compile and initial profiling/warmup run together took 29.93 s in total",
        "torch.compile took 29.93 s in total",
        "torch.compile takes 29.93 s in total",
    ],
)
def test_each_wording_of_the_compilation(line: str) -> None:
    assert phases(f"INFO 03-09 12:55:21 [monitor.py:35] {line}\n").compilation_s == 29.93


def test_a_log_that_says_nothing() -> None:
    assert phases("") == phases("listening on 127.0.0.1\n") == StartPhases()


def test_stamps_outside_the_start_are_of_another_time_zone() -> None:
    started_s = local_s("2026-11-26 05:49:36")
    start = start_phases(CPU_032, started_s, started_s + 47)
    assert (start.imports_s, start.setup_s, start.weights_s) == (None, None, 0.02)


def test_a_start_over_new_year() -> None:
    log = "INFO 01-01 00:00:03 [a.py:1] vLLM\nINFO 01-01 00:00:05 [b.py:1] Starting to load model x...\n"
    started_s = local_s("2026-12-31 23:59:58")
    start = start_phases(log, started_s, started_s + 20)
    assert (start.imports_s, start.setup_s) == (5.5, 7.5)


def test_a_stamp_of_the_second_of_the_start() -> None:
    log = "INFO 11-26 06:49:36 [a.py:1] vLLM\n"
    started_s = local_s("2026-11-26 06:49:36") + 0.9
    assert start_phases(log, started_s, started_s + 5).imports_s == 0.0


@pytest.mark.parametrize(
    ("log", "phase"),
    [
        ("", "importing vLLM"),
        ("Triton is installed, but doesn't include CPU backend.\n", "importing vLLM"),
        (CPU_032[: CPU_032.index("(APIServer pid=13674) INFO 11-26 06:49:58")], "reading the model's configuration"),
        (CPU_032[: CPU_032.index("(EngineCore")], "starting the engine's process"),
        (CPU_032[: CPU_032.index("(Worker")], "starting the engine's workers"),
        (CPU_032[: CPU_032.index("Loading safetensors")], "loading weights"),
        ("Loading safetensors checkpoint shards:  75% Completed | 3/4 [00:07<00:02]", "loading weights, 3 of 4 files"),
        ("Starting to load model x...\nmodel-00001-of-00004.safetensors:  12%|#2 | 600M/4.98G", "downloading weights"),
        (V1_TP2[: V1_TP2.index("(Worker_TP0 pid=98) INFO 06-02 10:00:51")], "profiling memory"),
        (V1_TP2[: V1_TP2.index("(Worker_TP0 pid=98) INFO 06-02 10:01:12")], "compiling"),
        (V1_TP2[: V1_TP2.index("(Worker_TP0 pid=98) INFO 06-02 10:01:30")], "allocating the KV cache"),
        ("Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  21%|##", "capturing CUDA graphs"),
        (V1[: V1.index("INFO 06-19 23:05:35 [core")], "warming up"),
        (V0, "starting the HTTP server"),
        (CPU_032, "starting the HTTP server"),
    ],
)
def test_what_a_start_is_doing(log: str, phase: str) -> None:
    assert start_phase(log.splitlines()) == phase


def test_a_warning_is_no_phase() -> None:
    log = "Starting to load model x...\nWARNING 11-26 10:30:09 [utils.py:333] Attempted to load weight lm_head.weight\n"
    assert start_phase(log.splitlines()) == "loading weights"
