package httpboot

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/edge/config"
)

// farmOnce is what edges ask, which may be away.
type farmOnce struct {
	mu    sync.Mutex // guards what follows
	away  bool
	taken map[string]bool
}

func (o *farmOnce) Take(_ context.Context, machine string, boot config.BootID, what string) (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.away {
		return false, errors.New("no leader")
	}
	key := machine + " " + boot.String() + " " + what
	fresh := !o.taken[key]
	o.taken[key] = true
	return fresh, nil
}

// secretive gives the machine of a room a secret, and has its edge ask once.
func (r *roomOf) secretive(t *testing.T, once config.Once) {
	t.Helper()
	in := proto.CloneOf(r.Intents.Now())
	in.Revision++
	in.Machines[0].Confirmed = true
	in.Machines[0].Secrets = map[string]string{"password": "hunter2"}
	in.Machines[0].Templates = map[string]string{"user-data": "password={{ .Secrets.password }}"}
	*r = *serve(r.Room, func(cfg *Config) { cfg.Once = once })
	r.Intents.Set(in)
	r.Seen.Gave(known, netip.MustParsePrefix("10.0.0.21/24"), time.Now().Add(time.Hour))
}

func TestSecretsAreReadOnceAtAllEdges(t *testing.T) {
	once := &farmOnce{taken: map[string]bool{}}
	one, two := newRoomOf(t), newRoomOf(t)
	one.secretive(t, once)
	two.secretive(t, once)
	token := func() string {
		script := one.Get("/boot.ipxe?mac="+known+"&arch=x86_64", "10.0.0.21").Body.String()
		_, rest, ok := strings.Cut(script, "kiln.config=http://10.0.0.1:7380/m/")
		if !ok {
			t.Fatalf("the script has no token:\n%s", script)
		}
		text, _, _ := strings.Cut(rest, " ")
		return text
	}
	boot := token()
	once.away = true
	if w := one.Get("/m/"+boot+"/nocloud/user-data", "10.0.0.21"); w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "hunter2") {
		t.Errorf("while the farm is away: %d %s", w.Code, w.Body)
	}
	once.away = false
	for _, c := range []struct {
		name  string
		edge  *roomOf
		token string
		want  int
	}{
		{"the first edge", one, boot, http.StatusOK},
		{"the other edge", two, boot, http.StatusForbidden},
		{"the first edge again", one, boot, http.StatusForbidden},
		{"the next boot", two, token(), http.StatusOK},
	} {
		w := c.edge.Get("/m/"+c.token+"/nocloud/user-data", "10.0.0.21")
		if given := strings.Contains(w.Body.String(), "hunter2"); w.Code != c.want || given != (c.want == http.StatusOK) {
			t.Errorf("%s: %d %s, want %d", c.name, w.Code, w.Body, c.want)
		}
	}
}
