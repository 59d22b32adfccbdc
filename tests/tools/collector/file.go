package main

import (
	"context"
	"errors"
	"os"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// settings of an exporter that appends each batch to a file, as a line of
// OTLP's JSON: written when the receiver's caller gets its answer.
type settings struct {
	Path string `mapstructure:"path"`
}

func (s *settings) Validate() error {
	if s.Path == "" {
		return errors.New("path is missing")
	}
	return nil
}

// file has no beginning and no end of its own.
type file struct {
	component.StartFunc
	component.ShutdownFunc
}

func fileExporter() exporter.Factory {
	return exporter.NewFactory(
		component.MustNewType("file"),
		func() component.Config { return &settings{} },
		exporter.WithTraces(traces, component.StabilityLevelDevelopment),
		exporter.WithMetrics(metrics, component.StabilityLevelDevelopment),
		exporter.WithLogs(logs, component.StabilityLevelDevelopment),
	)
}

func traces(_ context.Context, _ exporter.Settings, config component.Config) (exporter.Traces, error) {
	write := writer[ptrace.Traces](config, (&ptrace.JSONMarshaler{}).MarshalTraces)
	batches, err := consumer.NewTraces(write)
	return struct {
		file
		consumer.Traces
	}{file{}, batches}, err
}

func metrics(_ context.Context, _ exporter.Settings, config component.Config) (exporter.Metrics, error) {
	write := writer[pmetric.Metrics](config, (&pmetric.JSONMarshaler{}).MarshalMetrics)
	batches, err := consumer.NewMetrics(write)
	return struct {
		file
		consumer.Metrics
	}{file{}, batches}, err
}

func logs(_ context.Context, _ exporter.Settings, config component.Config) (exporter.Logs, error) {
	write := writer[plog.Logs](config, (&plog.JSONMarshaler{}).MarshalLogs)
	batches, err := consumer.NewLogs(write)
	return struct {
		file
		consumer.Logs
	}{file{}, batches}, err
}

// Batches come side by side.
var lines sync.Mutex

func writer[Batch any](config component.Config, marshal func(Batch) ([]byte, error)) func(context.Context, Batch) error {
	path := config.(*settings).Path
	return func(_ context.Context, batch Batch) error {
		line, err := marshal(batch)
		if err != nil {
			return err
		}
		lines.Lock()
		defer lines.Unlock()
		file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		_, err = file.Write(append(line, '\n'))
		return errors.Join(err, file.Close())
	}
}
