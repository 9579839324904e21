package cache

import (
	"context"
	"errors"
	"io"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Traced wraps a Store and gives every operation a span, with its key and bytes. A miss is an attribute of its
// span, not an error. Without a tracer installed it costs next to nothing. Put it around the wrapper or backend
// whose share of the time is to be seen.
type Traced struct {
	inner Store
	name  string
}

// NewTraced wraps s; name says in spans which store it is: "local", "s3".
func NewTraced(s Store, name string) Traced { return Traced{s, name} }

// Get implements Store. The span ends when the reader is closed.
func (t Traced) Get(ctx context.Context, key Key, offset, n int64) (io.ReadCloser, error) {
	ctx, span := t.start(ctx, "cache.get", attribute.String("cache.key", key.path))
	r, err := t.inner.Get(ctx, key, offset, n)
	if err != nil {
		return nil, finish(span, err)
	}
	if !span.IsRecording() {
		span.End()
		return r, nil
	}
	return &tracedReader{ReadCloser: r, span: span}, nil
}

// Put implements Store.
func (t Traced) Put(ctx context.Context, key Key, r io.Reader, size int64, mode PutMode) error {
	ctx, span := t.start(ctx, "cache.put", attribute.String("cache.key", key.path), attribute.Int64("cache.bytes", size))
	return finish(span, t.inner.Put(ctx, key, r, size, mode))
}

// Missing implements Store.
func (t Traced) Missing(ctx context.Context, keys []Key) ([]Key, error) {
	ctx, span := t.start(ctx, "cache.missing", attribute.Int("cache.keys", len(keys)))
	missing, err := t.inner.Missing(ctx, keys)
	span.SetAttributes(attribute.Int("cache.misses", len(missing)))
	return missing, finish(span, err)
}

// List implements Store.
func (t Traced) List(ctx context.Context, prefix string, f func(Entry) error) error {
	ctx, span := t.start(ctx, "cache.list", attribute.String("cache.prefix", prefix))
	return finish(span, t.inner.List(ctx, prefix, f))
}

// Delete implements Store.
func (t Traced) Delete(ctx context.Context, key Key) error {
	ctx, span := t.start(ctx, "cache.delete", attribute.String("cache.key", key.path))
	return finish(span, t.inner.Delete(ctx, key))
}

func (t Traced) start(ctx context.Context, operation string, attributes ...attribute.KeyValue) (context.Context, trace.Span) {
	ctx, span := otel.Tracer("github.com/kiln-farm/kiln/cache").Start(ctx, operation)
	if span.IsRecording() {
		span.SetAttributes(append(attributes, attribute.String("cache.store", t.name))...)
	}
	return ctx, span
}

// finish ends span as err says, and returns err.
func finish(span trace.Span, err error) error {
	switch {
	case errors.Is(err, ErrNotFound):
		span.SetAttributes(attribute.Bool("cache.miss", true))
	case err != nil:
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
	return err
}

type tracedReader struct {
	io.ReadCloser
	span trace.Span
	n    int64
	err  error // the last one that was not EOF
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
	r.span.SetAttributes(attribute.Int64("cache.bytes", r.n))
	_ = finish(r.span, errors.Join(r.err, err)) // for the span alone
	return err
}
