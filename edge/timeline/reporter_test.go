package timeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// What cannot be told for long is bounded, told in pieces that the farm takes, in its order, and the latest of it.
func TestEventsAreHeldWhileNobodyListens(t *testing.T) {
	var told []*kilnv1.BootEvent
	away, most := true, 0
	e := New("e1", func(_ context.Context, events []*kilnv1.BootEvent) error {
		most = max(most, len(events))
		if away {
			return errors.New("away")
		}
		told = append(told, events...)
		return nil
	}, slog.New(slog.DiscardHandler))
	const extra = 123
	for i := range maxHeld {
		e.Add(&kilnv1.BootEvent{Detail: fmt.Sprint(i)})
	}
	ended, end := context.WithCancel(t.Context())
	end()
	e.Run(ended) // tells once
	for i := range extra {
		e.Add(&kilnv1.BootEvent{Detail: fmt.Sprint(maxHeld + i)})
	}
	away = false
	e.Run(ended)
	if len(told) != maxHeld || most > maxReport {
		t.Fatalf("%d events told, at most %d at once; want %d, at most %d", len(told), most, maxHeld, maxReport)
	}
	for i, event := range told {
		if want := fmt.Sprint(extra + i); event.GetDetail() != want {
			t.Fatalf("event %d is %s, want %s", i, event.GetDetail(), want)
		}
	}
}
