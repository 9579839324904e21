package farmlink

import (
	"errors"
	"slices"
	"testing"
)

// dialed counts connections, and which of them are closed.
type dialed struct {
	conns  []*Conn
	closed []int
}

func (d *dialed) dial() (*Conn, error) {
	n := len(d.conns)
	d.conns = append(d.conns, &Conn{Close: func() { d.closed = append(d.closed, n) }})
	return d.conns[n], nil
}

func TestACallThatFailedHasTheNextOneDialAnew(t *testing.T) {
	d := &dialed{}
	c := calls{dial: d.dial}
	fault := errors.New("the coordinator is gone")
	for i, want := range []struct {
		err  error
		conn int
	}{{nil, 0}, {nil, 0}, {fault, 0}, {nil, 1}, {nil, 1}} {
		used := -1
		err := c.do(func(conn *Conn) error {
			used = slices.Index(d.conns, conn)
			return want.err
		})
		if !errors.Is(err, want.err) || used != want.conn {
			t.Errorf("call %d: %v over connection %d, want %v over %d", i, err, used, want.err, want.conn)
		}
	}
	c.drop(d.conns[0]) // which is not the one in use
	if err := c.do(func(conn *Conn) error { c.drop(conn); return nil }); err != nil {
		t.Error(err)
	}
	if err := c.close(); err != nil {
		t.Error(err)
	}
	if len(d.conns) != 2 || !slices.Equal(d.closed, []int{0, 1, 1}) && !slices.Equal(d.closed, []int{0, 1}) {
		t.Errorf("%d connections, closed %v", len(d.conns), d.closed)
	}
}

func TestAFarmThatIsNotReachedIsTold(t *testing.T) {
	fault := errors.New("nobody answers")
	l := New(Config{Edge: "e", Coordinators: func() []string { return nil }, Dial: func([]string) (*Conn, error) { return nil, fault }})
	if err := l.Report(t.Context(), nil); !errors.Is(err, fault) {
		t.Errorf("got %v, want %v", err, fault)
	}
	if _, err := l.Pool().Bind(t.Context(), nil); !errors.Is(err, fault) {
		t.Errorf("got %v, want %v", err, fault)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// Each connection of a pool goes to another coordinator first, or to the leader that was named.
func TestConnectionsOfAPoolGoRound(t *testing.T) {
	var first []string
	p := New(Config{Coordinators: func() []string { return []string{"https://c1", "https://c2", "https://c3"} }, Dial: func(urls []string) (*Conn, error) {
		first = append(first, urls[0])
		if len(urls) != 3 {
			t.Errorf("URLs %v, want all three", urls)
		}
		return &Conn{Close: func() {}}, nil
	}}).Pool()
	for i := range 5 {
		if i == 2 {
			p.leader = "https://c2"
		}
		if _, err := p.dial(); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"https://c1", "https://c2", "https://c2", "https://c3", "https://c1"}; !slices.Equal(first, want) {
		t.Errorf("asked first %v, want %v", first, want)
	}
}
