package wrap

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/internal/meter"
)

// Traced wraps a Store and gives every operation a span, with its key and bytes, and a time in the metrics. A miss is an
// attribute of its span, not an error. Where nobody wants either it costs next to nothing. Put it around the wrapper or
// backend whose share of the time is to be seen.
type Traced struct {
	inner cache.Store
	name  string
}

// NewTraced wraps s; name says in spans which store it is: "local", "s3".
func NewTraced(s cache.Store, name string) Traced { return Traced{s, name} }

// Get implements Store. The span ends when the reader is closed.
func (t Traced) Get(ctx context.Context, key cache.Key, offset, n int64) (io.ReadCloser, error) {
	ctx, span := t.start(ctx, "cache.get", attribute.String("cache.key", key.String()))
	r, err := t.inner.Get(ctx, key, offset, n)
	if err != nil {
		return nil, span.finish(err)
	}
	return &tracedReader{ReadCloser: r, operation: span}, nil
}

// Put implements Store.
func (t Traced) Put(ctx context.Context, key cache.Key, r io.Reader, size int64, mode cache.PutMode) error {
	ctx, span := t.start(ctx, "cache.put", attribute.String("cache.key", key.String()), attribute.Int64("cache.bytes", size))
	return span.finish(t.inner.Put(ctx, key, r, size, mode))
}

// Missing implements Store.
func (t Traced) Missing(ctx context.Context, keys []cache.Key) ([]cache.Key, error) {
	ctx, span := t.start(ctx, "cache.missing", attribute.Int("cache.keys", len(keys)))
	missing, err := t.inner.Missing(ctx, keys)
	span.SetAttributes(attribute.Int("cache.misses", len(missing)))
	return missing, span.finish(err)
}

// List implements Store.
func (t Traced) List(ctx context.Context, prefix string, f func(cache.Entry) error) error {
	ctx, span := t.start(ctx, "cache.list", attribute.String("cache.prefix", prefix))
	return span.finish(t.inner.List(ctx, prefix, f))
}

// Delete implements Store.
func (t Traced) Delete(ctx context.Context, key cache.Key) error {
	ctx, span := t.start(ctx, "cache.delete", attribute.String("cache.key", key.String()))
	return span.finish(t.inner.Delete(ctx, key))
}

// operation is one that is under way.
type operation struct {
	trace.Span
	ctx         context.Context
	name, store string
	begun       time.Time
}

func (t Traced) start(ctx context.Context, name string, attributes ...attribute.KeyValue) (context.Context, operation) {
	ctx, span := otel.Tracer("github.com/kiln-farm/kiln/cache").Start(ctx, name)
	if span.IsRecording() {
		span.SetAttributes(append(attributes, attribute.String("cache.store", t.name))...)
	}
	return ctx, operation{span, ctx, name, t.name, time.Now()}
}

// finish ends the operation as err says, and returns err.
func (o operation) finish(err error) error {
	outcome := "ok"
	switch {
	case errors.Is(err, cache.ErrNotFound):
		outcome = "miss"
		o.SetAttributes(attribute.Bool("cache.miss", true))
	case err != nil:
		outcome = "error"
		o.RecordError(err)
		o.SetStatus(codes.Error, err.Error())
	}
	storeTime.Record(o.ctx, time.Since(o.begun).Seconds(), metric.WithAttributes(
		attribute.String("operation", strings.TrimPrefix(o.name, "cache.")), attribute.String("store", o.store), attribute.String("outcome", outcome)))
	o.End()
	return err
}

var (
	storeTime = meter.Of("cache").Seconds("kiln.cache.duration", "Time of operations of a store, a read until its end, by outcome")
	storeRead = meter.Of("cache").Counter("kiln.cache.read", "By", "Bytes read from a store")
)

type tracedReader struct {
	io.ReadCloser
	operation operation
	n         int64
	err       error // the last one that was not EOF
}

func (r *tracedReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.n += int64(n)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

func (r *tracedReader) Close() error {
	err := r.ReadCloser.Close()
	r.operation.SetAttributes(attribute.Int64("cache.bytes", r.n))
	storeRead.Add(r.operation.ctx, r.n, metric.WithAttributes(attribute.String("store", r.operation.store)))
	_ = r.operation.finish(errors.Join(r.err, err)) // for the span alone
	return err
}
