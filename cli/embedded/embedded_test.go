package embedded

import (
	"log/slog"
	"net/http"
	"testing"

	"connectrpc.com/connect"

	"github.com/kiln-farm/kiln/cache/disk"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/kiln-farm/kiln/proto/kiln/v1/kilnv1connect"
)

func start(t testing.TB) *Farm {
	t.Helper()
	store, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f, err := Start(t.Context(), Config{Cache: store, Builder: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestAFarmThatStartedTakesCallsAndEnds(t *testing.T) {
	f := start(t)
	api := kilnv1connect.NewFarmServiceClient(f.Client(), "http://any.host")
	status, err := api.Status(t.Context(), connect.NewRequest(&kilnv1.StatusRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	if status.Msg.GetLeader() == "" {
		t.Error("the farm is ready and has no leader")
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := api.Status(t.Context(), connect.NewRequest(&kilnv1.StatusRequest{})); err == nil {
		t.Error("a closed farm answers")
	}
}

func TestFarmsInOneProcessShareNothing(t *testing.T) {
	a, b := start(t), start(t)
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	resp, err := b.Client().Get("http://any.host/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %s, want 200", resp.Status)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// BenchmarkStart is what a build in one process pays before it can begin, and after it has ended.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		if err := start(b).Close(); err != nil {
			b.Fatal(err)
		}
	}
}
