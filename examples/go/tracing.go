package main

import (
	"context"
	"log"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"

	pb "example.com/decisions/gen/spopbridge/v1"
)

// traced gives each decision a span in the trace of HAProxy's client, whose
// context decisions.go puts into ctx. Spans go where OTEL_EXPORTER_OTLP_ENDPOINT
// says; flush sends the last ones. Copy this file, too, into your service.
func traced(decide rule) (inSpan rule, flush func()) {
	// Connects when there is something to send, and again when it fails.
	exporter, err := otlptracegrpc.New(context.Background())
	if err != nil {
		log.Fatalf("cannot export spans: %v", err)
	}
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter))
	tracer := provider.Tracer("decisions")
	w3c := propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})

	inSpan = func(ctx context.Context, request *pb.DecideRequest) (*pb.DecideResponse, error) {
		headers, _ := metadata.FromIncomingContext(ctx)
		ctx, span := tracer.Start(w3c.Extract(ctx, carrier(headers)), "decide", trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		span.SetAttributes(attribute.StringSlice("spop.messages", names(request)))
		response, err := decide(ctx, request)
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		return response, err
	}
	flush = func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			log.Printf("the last spans are lost: %v", err)
		}
	}
	return inSpan, flush
}

func names(request *pb.DecideRequest) (names []string) {
	for _, message := range request.GetMessages() {
		names = append(names, message.GetName())
	}
	return names
}

// carrier lets OpenTelemetry read a call's metadata.
type carrier metadata.MD

func (c carrier) Get(key string) string {
	if values := metadata.MD(c).Get(key); len(values) > 0 {
		return values[0]
	}
	return ""
}

func (c carrier) Set(key, value string) { metadata.MD(c).Set(key, value) }

func (c carrier) Keys() (keys []string) {
	for key := range c {
		keys = append(keys, key)
	}
	return keys
}
