"""The words of other benchmark tools, and what to type here in place of each: the one table behind the hints.

The tools: ``vllm bench serve|throughput|latency``, guidellm, aiperf and genai-perf, SGLang's ``bench_serving``,
inference-perf, locust, k6, and what such tools have in common. Words are in lower case, with underscores.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from benchhydra.overrides.groups import group_options

Hint = str | Callable[[str], str]

URL = re.compile(r"https?://\S+")
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
#: Values that are repeated in a hint; others need quotes, so the hint has a placeholder.
PLAIN_VALUE = re.compile(r"[\w./:@%+,~-]+")

RATE = "qps={value}"
CONCURRENCY = "load=concurrency load.max_in_flight={value}"
COUNT = "num_prompts={value}"
PROMPT_TOKENS = "dataset.prompt_tokens={value}"
OUTPUT_TOKENS = "dataset.output_tokens={value}"
PROMPT_STD = "dataset.prompt_shape=normal dataset.prompt_std={value}"
OUTPUT_STD = "dataset.output_shape=normal dataset.output_std={value}"
DATA_FILE = "dataset=jsonl dataset.path={value}"
SERVER = "engine=attach engine.base_url={value}"
HOST = "engine=attach engine.base_url=http://HOST:PORT"
API_KEY = "engine=attach engine.api_key_env=NAME (the environment variable with the key)"
HEADERS = "engine=attach engine.headers.NAME=VARIABLE (an environment variable with the value)"
DURATION = "load.duration_s={value}"
WARMUP = "script.warmup_requests={value} (or load.warmup_s=SECONDS)"
TIMEOUT = "script.request_timeout_s={value}"
PERCENTILES = "percentiles=[{value}] (p50, p90, p95 and p99 are always computed)"
METRICS = "benchhydra metrics (all are computed)"
GOODPUT = "slo.ttft_ms=200 slo.tpot_ms=50 (then goodput is measured)"
BODY = "script.body.FIELD=VALUE"
OUTPUT = "hydra.run.dir={value} (of a sweep: hydra.sweep.dir={value})"
SAVED = "every run writes result.json and records.parquet (hydra.run.dir=DIR moves them)"
PRESET = "benchhydra suite FILE, or --config-dir DIR experiment=NAME"
TRACES = "HYDRA_FULL_ERROR=1 in the environment prints tracebacks"


def _gpus(value: str) -> str:
    """The option of ``gpus`` for a number of GPUs."""
    options = {"0": "gpus=cpu", "1": "gpus=single", "2": "gpus=tp2", "4": "gpus=tp4", "8": "gpus=tp8"}
    return options.get(value, f"gpus=all gpus.count={value}")


def _endpoint(value: str) -> str:
    if value.startswith("/"):
        return "api=chat" if "chat" in value else "api=completions"
    return SERVER


def _model(value: str) -> str:
    return f"model={value}" if value in group_options("model") else "model=custom model.id={value}"


def _data(value: str) -> str:
    """guidellm's ``--data``: a file, or lengths as ``prompt_tokens=256,output_tokens=128``."""
    return "dataset.prompt_tokens=N dataset.output_tokens=N" if "=" in value else DATA_FILE


#: Key or option of another tool -> what to type; ``{value}`` is the value that was typed.
KEYS: Mapping[str, Hint] = {
    **dict.fromkeys(("request_rate", "rate", "rps", "req_rate", "requests_per_second", "target_qps"), RATE),
    **dict.fromkeys(("concurrency", "max_concurrency", "num_concurrency", "concurrent_requests"), CONCURRENCY),
    **dict.fromkeys(("users", "num_users", "vus", "clients", "connections", "threads", "u", "c"), CONCURRENCY),
    **dict.fromkeys(("num_requests", "requests", "request_count", "max_requests", "n_requests", "n"), COUNT),
    **dict.fromkeys(("num_prompt", "number_of_prompts", "num_queries", "num_samples"), COUNT),
    **dict.fromkeys(("input_len", "random_input_len", "input_length", "input_tokens", "isl"), PROMPT_TOKENS),
    **dict.fromkeys(
        ("isl_mean", "prompt_len", "prompt_length", "random_input", "input_sequence_length"), PROMPT_TOKENS
    ),
    **dict.fromkeys(("synthetic_input_tokens_mean", "prompt_input_tokens_mean", "sonnet_input_len"), PROMPT_TOKENS),
    **dict.fromkeys(("output_len", "random_output_len", "output_length", "osl", "osl_mean"), OUTPUT_TOKENS),
    **dict.fromkeys(("random_output", "output_sequence_length", "output_tokens_mean", "max_tokens"), OUTPUT_TOKENS),
    **dict.fromkeys(("max_new_tokens", "gen_len", "sharegpt_output_len", "sonnet_output_len"), OUTPUT_TOKENS),
    **dict.fromkeys(("isl_stddev", "synthetic_input_tokens_stddev", "prompt_tokens_stdev"), PROMPT_STD),
    **dict.fromkeys(("osl_stddev", "output_tokens_stddev", "output_tokens_stdev"), OUTPUT_STD),
    **dict.fromkeys(("random_prefix_len", "prefix_len", "shared_prefix_len"), "dataset.prefix_tokens={value}"),
    "random_range_ratio": "dataset.prompt_shape=uniform dataset.prompt_min=N dataset.prompt_max=N",
    **dict.fromkeys(("dataset_path", "data_path", "dataset_file", "input_file", "prompts_file"), DATA_FILE),
    "data": _data,
    **dict.fromkeys(("target", "url", "base_url", "server_url", "api_base", "openai_api_base"), SERVER),
    "endpoint": _endpoint,
    **dict.fromkeys(("host", "port"), HOST),
    **dict.fromkeys(("api_key", "openai_api_key", "bearer_token", "token"), API_KEY),
    **dict.fromkeys(("header", "headers", "extra_headers", "h"), HEADERS),
    **dict.fromkeys(("model_id", "model_name", "model_path", "model_names"), _model),
    "served_model_name": "engine=attach engine.served_model={value}",
    **dict.fromkeys(("tokenizer_name", "tokenizer_path", "pretrained_model_name_or_path"), "model.tokenizer={value}"),
    **dict.fromkeys(("duration", "max_seconds", "max_duration", "benchmark_duration", "run_time", "t"), DURATION),
    **dict.fromkeys(("ramp_up", "rampup", "ramp_up_strategy", "ramping_vus"), "load=ramp load.start_qps=1 qps=10"),
    **dict.fromkeys(("ramp_up_start_rps", "spawn_rate"), "load=ramp load.start_qps={value}"),
    "ramp_up_end_rps": "load=ramp qps={value}",
    "stages": "-m qps=1,2,4 (one point a rate)",
    **dict.fromkeys(("num_workers", "workers", "num_processes"), "load.processes={value}"),
    **dict.fromkeys(("warmup", "num_warmups", "num_warmup_requests", "warmup_request_count"), WARMUP),
    **dict.fromkeys(("timeout", "request_timeout", "request_timeout_seconds", "http_timeout"), TIMEOUT),
    "ready_check_timeout_sec": "engine.ready_timeout_s={value}",
    **dict.fromkeys(("percentiles", "percentile", "metric_percentiles"), PERCENTILES),
    **dict.fromkeys(("percentile_metrics", "selected_percentile_metrics", "summary_trend_stats"), METRICS),
    **dict.fromkeys(("goodput", "slos", "sla", "thresholds"), GOODPUT),
    **dict.fromkeys(("max_error_rate", "max_errors", "error_rate"), "validity.failed_fraction={value}"),
    **dict.fromkeys(("streaming", "enable_streaming"), "script.stream={value}"),
    **dict.fromkeys(("no_stream", "disable_stream", "no_streaming"), "script.stream=false"),
    "disable_ignore_eos": "script.ignore_eos=false",
    **{name: f"script.body.{name}={{value}}" for name in ("top_p", "top_k", "min_p", "logprobs", "stop")},
    **{name: f"script.body.{name}={{value}}" for name in ("frequency_penalty", "presence_penalty", "best_of")},
    **dict.fromkeys(("extra_body", "extra_inputs", "extra_request_body"), BODY),
    "num_iters": "script=latency script.iterations={value}",
    "num_iters_warmup": "script=latency script.warmup_iterations={value}",
    "random_seed": "seed={value}",
    **dict.fromkeys(("num_runs", "runs", "trials", "num_repeats", "repeat_count"), "repeats={value}"),
    **dict.fromkeys(("output", "output_dir", "output_path", "result_dir", "artifact_dir", "o"), OUTPUT),
    **dict.fromkeys(("output_file", "result_filename", "export_results", "save_result", "save_detailed"), SAVED),
    **dict.fromkeys(("label", "tag", "tags", "metadata", "name"), "description={value}"),
    **dict.fromkeys(("tp", "tp_size", "tensor_parallel_size", "tensor_parallel", "num_gpus", "gpu_count"), _gpus),
    **{
        name: f"engine.args.{name}={{value}}"
        for name in (
            *("max_num_seqs", "max_num_batched_tokens", "gpu_memory_utilization", "enable_prefix_caching"),
            *("enable_chunked_prefill", "kv_cache_dtype", "block_size", "pipeline_parallel_size", "swap_space"),
            *("data_parallel_size", "speculative_config", "compilation_config", "trust_remote_code", "load_format"),
            *("attention_backend", "scheduling_policy", "async_scheduling", "cpu_offload_gb", "max_loras"),
        )
    },
    **dict.fromkeys(("pp", "pp_size"), "engine.args.pipeline_parallel_size={value}"),
    **dict.fromkeys(("dp", "dp_size"), "engine.args.data_parallel_size={value}"),
    "context_length": "model.max_model_len={value}",
    "mem_fraction_static": "engine.args.gpu_memory_utilization={value}",
    **dict.fromkeys(("tracking_uri", "mlflow_tracking_uri"), "tracking.uri={value}"),
    **dict.fromkeys(("experiment_name", "mlflow_experiment"), "tracking.experiment={value}"),
    **dict.fromkeys(("no_mlflow", "no_tracking"), "tracking=none"),
    **dict.fromkeys(("dry_run", "plan"), "sweep.plan=true"),
    **dict.fromkeys(("config", "config_file", "f", "scenario"), PRESET),
    **dict.fromkeys(("verbose", "debug", "log_level", "v"), TRACES),
}
#: Key or option of another tool that selects what a config group of ours selects.
GROUPS: Mapping[str, str] = {
    **dict.fromkeys(("dataset_name", "dataset_type", "data.type", "public_dataset"), "dataset"),
    **dict.fromkeys(("backend", "framework", "server.type", "service_kind"), "engine"),
    **dict.fromkeys(("endpoint_type", "request_type", "api.type"), "api"),
    **dict.fromkeys(("rate_type", "profile", "load.type", "arrival_pattern", "request_distribution"), "load"),
}
#: Config group -> what another tool calls an option -> what to type.
OPTIONS: Mapping[str, Mapping[str, str]] = {
    "dataset": {
        **dict.fromkeys(("random", "random_ids", "mock", "dummy"), "dataset=synthetic"),
        **dict.fromkeys(("custom", "hf", "openorca", "file"), "dataset=jsonl dataset.path=FILE"),
        **dict.fromkeys(
            ("prefix_repetition", "shared_prefix", "generated_shared_prefix"),
            "dataset=synthetic dataset.prefix_tokens=N",
        ),
        "mooncake_trace": "dataset=mooncake load=trace",
        "azure": "dataset=azure_llm load=trace",
    },
    "engine": {
        "sglang_oai": "engine=sglang",
        "llama_cpp": "engine=llamacpp",
        **dict.fromkeys(("trt", "tensorrt_llm"), "engine=trtllm"),
        **dict.fromkeys(("lmdeploy", "ollama", "deepspeed_mii", "triton"), HOST),
        **dict.fromkeys(("openai", "openai_http", "openai_comp", "openai_completions"), f"{HOST} api=completions"),
        **dict.fromkeys(("openai_chat", "vllm_chat", "sglang_oai_chat"), f"{HOST} api=chat"),
        "mock": "engine=fake",
    },
    "api": {
        **dict.fromkeys(("openai_chat", "chat_completions", "openai"), "api=chat"),
        **dict.fromkeys(("completion", "openai_completions", "text_completions"), "api=completions"),
    },
    "load": {
        **dict.fromkeys(("concurrent", "closed_loop", "constant_vus"), "load=concurrency load.max_in_flight=N"),
        "synchronous": "load=concurrency load.max_in_flight=1",
        **dict.fromkeys(("throughput", "inf"), "qps=inf num_prompts=N"),
        "gamma": "load=poisson load.burstiness=0.5",
        **dict.fromkeys(("constant_rate", "constant_arrival_rate", "uniform"), "load=constant"),
        **dict.fromkeys(("ramping_arrival_rate", "linear"), "load=ramp load.start_qps=1"),
        **dict.fromkeys(("sweep", "concurrency_sweep"), "-m qps=1,2,4"),
        **dict.fromkeys(("trace_replay", "fixed_schedule", "replay"), "load=trace"),
    },
    "script": {
        **dict.fromkeys(("serve", "server", "online", "bench_serve"), "script=serving"),
        **dict.fromkeys(("offline", "batch"), "script=throughput"),
    },
}
MEASURE = "benchhydra KEY=VALUE ... measures, without a subcommand"
#: First word of another tool's command line, or a command that one may expect here -> what to type.
COMMANDS: Mapping[str, str] = {
    **dict.fromkeys(("bench", "benchmark", "bench_serving", "benchmark_serving", "run", "start", "attack"), MEASURE),
    **dict.fromkeys(("serve", "measure", "test", "profile", "analyze"), MEASURE),
    "sweep": "benchhydra -m qps=1,2,4",
    **dict.fromkeys(("diff", "cmp"), "benchhydra compare BASE CANDIDATE"),
    "check": "benchhydra gate BASE CANDIDATE",
    **dict.fromkeys(("dashboard", "mlflow", "view", "web", "server"), "benchhydra ui"),
    **dict.fromkeys(("plot", "visualize", "html"), "benchhydra report SOURCE"),
    **dict.fromkeys(("models", "datasets", "engines", "keys", "list", "ls", "config"), "benchhydra options"),
    **dict.fromkeys(("import", "convert_results"), "benchhydra convert FILE"),
    **dict.fromkeys(("dry_run", "plan"), "benchhydra -m KEY=A,B sweep.plan=true"),
    "resume": "benchhydra -m KEY=A,B sweep.resume=auto",
}


def normalized(word: str) -> str:
    """A key, option or subcommand in the spelling of the tables."""
    return word.lstrip("-+").lower().replace("-", "_").removesuffix(".py")


def key_hint(key: str, value: str) -> str:
    """What to type for another tool's key, or for its last part; an empty text if no tool has such a key."""
    name = normalized(key)
    if name in GROUPS:
        return option_hint(GROUPS[name], value) or f"{GROUPS[name]}=NAME (benchhydra options {GROUPS[name]})"
    hint = KEYS.get(name, "")
    return with_value(hint(value) if callable(hint) else hint, value)


def with_value(hint: str, value: str) -> str:
    """A hint with the value that was typed; with a placeholder if there is none, or if it would need quotes."""
    return hint.replace("{value}", value if PLAIN_VALUE.fullmatch(value) else "VALUE")


def option_hint(group: str, option: str) -> str:
    """What to type for an option of a group that another tool has; an empty text if none has it."""
    if option.lower() in group_options(group):
        return f"{group}={option.lower()}"
    if group == "model" and (HUB_ID.fullmatch(option) or option.startswith(("/", "./", "../", "~"))):
        return f"model=custom model.id={option}"
    if group == "gpus" and option.isdecimal():
        return _gpus(option)
    return OPTIONS.get(group, {}).get(normalized(option), "")


def word_hint(word: str) -> str:
    """What to type for a word that is neither an override nor a subcommand; an empty text if it is not recognized."""
    if URL.fullmatch(word):
        return with_value(SERVER, word)
    if word.endswith((".yaml", ".yml", ".json", ".toml")):
        return PRESET
    if HUB_ID.fullmatch(word):
        return f"model=custom model.id={word}"
    return COMMANDS.get(normalized(word), "")
