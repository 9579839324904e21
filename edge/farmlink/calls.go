package farmlink

import (
	"sync"
)

// calls are made over a connection to the farm that is made anew after a call that failed: coordinators come and go.
type calls struct {
	dial func() (*Conn, error)

	mu  sync.Mutex // guards now
	now *Conn
}

func (l *calls) do(call func(*Conn) error) error {
	l.mu.Lock()
	client := l.now
	l.mu.Unlock()
	if client == nil {
		var err error
		if client, err = l.dial(); err != nil {
			return err
		}
	}
	err := call(client)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil && l.now == client:
		l.now = nil
		client.Close()
	case err == nil && l.now == nil:
		l.now = client
	case l.now != client:
		client.Close()
	}
	return err
}

// drop has the next call made on another connection. Calls that are under way on this one end as they would.
func (l *calls) drop(client *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now == client {
		l.now = nil
		client.Close()
	}
}

func (l *calls) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now != nil {
		l.now.Close()
	}
	return nil
}
