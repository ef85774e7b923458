"""What a Metrics exposes, as a test compares it."""

from prometheus_client.parser import text_string_to_metric_families

from service.metrics import Metrics

Samples = dict[tuple[str, tuple[str, ...]], float]


def samples(text: str) -> Samples:
    """What was exposed: by name and values of the labels, in the order of the labels' names."""
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def exposed(metrics: Metrics) -> Samples:
    content, _ = await metrics.exposition("")
    return samples(content.decode())


def ours(found: Samples, prefix: str) -> dict[tuple[str, ...], float]:
    return {
        labels: value for (name, labels), value in found.items() if name == f"callboard_{prefix}"
    }
