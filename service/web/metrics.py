"""/metrics: for Prometheus, without a key, since nothing in it is a secret or names a job."""

from starlette.requests import Request
from starlette.responses import Response


async def page(request: Request) -> Response:
    """The metrics of this process, in the format that the scraper accepts."""
    accept = request.headers.get("accept", "")
    content, content_type = await request.state.metrics.exposition(accept)
    return Response(content, headers={"content-type": content_type})
