"""A span for each decision, in the trace of HAProxy's client. Copy this file and decisions.py into your service.

    decide = traced(decide)

Spans go where OTEL_EXPORTER_OTLP_ENDPOINT says; the other variables of OpenTelemetry (OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, ...)
work as ever. Needs requirements-tracing.txt.
"""

from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from decisions import trace_context


def traced(decide):
    """The same decisions, each in a span of its own. What `decide` awaits, and its own spans, belong to that one."""
    provider = TracerProvider()  # its last spans leave at exit
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracer = provider.get_tracer("decisions")

    async def decide_in_span(request):
        parent = propagate.extract(trace_context.get())
        with tracer.start_as_current_span("decide", parent, kind=trace.SpanKind.SERVER) as span:
            span.set_attribute("spop.messages", [message.name for message in request.messages])
            return await decide(request)

    return decide_in_span
