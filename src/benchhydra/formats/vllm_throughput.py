"""Import of ``vllm bench throughput --output-json``, a flat JSON object. Token throughput includes prompt tokens."""

from __future__ import annotations

from collections.abc import Sequence

from benchhydra.formats import ImportedRun, Json, importer, unread_keys_warning

HANDLED_KEYS = {
    "model_id",
    "elapsed_time",
    "num_requests",
    "total_num_tokens",
    "requests_per_second",
    "tokens_per_second",
}


def _recognizes(data: Json) -> bool:
    return {"elapsed_time", "num_requests", "total_num_tokens", "requests_per_second"} <= data.keys()


@importer("vllm bench throughput", _recognizes)
def runs(data: Json) -> Sequence[ImportedRun]:
    """The one run of a result object, which has no date."""
    return [
        ImportedRun(
            tool="vllm bench throughput",
            script="throughput",
            epoch_time=None,
            model=data.get("model_id") or "",
            intent={"num_prompts": data["num_requests"]},
            completed=data["num_requests"],
            metrics={
                "request_throughput": data["requests_per_second"],
                "total_token_throughput": data["tokens_per_second"],
                "duration_s": data["elapsed_time"],
            },
            metadata={"num_prompts": data["num_requests"], "duration": data["elapsed_time"], "request_rate": "inf"},
            warnings=unread_keys_warning(data, HANDLED_KEYS),
        )
    ]
