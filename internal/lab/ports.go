package lab

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// A node that is started again must find its ports free, so they are none that the system gives to connections
// (32768 to 60999 on Linux, ip_local_port_range).
const (
	firstPort = 15_000
	lastPort  = 32_000
	portTries = 200
)

// ports hands out each port once.
type ports struct {
	mu   sync.Mutex
	used map[int]bool
}

// free finds an address at host where nothing listens now.
func (p *ports) free(host string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used == nil {
		p.used = map[int]bool{}
	}
	for range portTries {
		port := firstPort + rand.IntN(lastPort-firstPort)
		address := net.JoinHostPort(host, strconv.Itoa(port))
		if p.used[port] {
			continue
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		_ = l.Close()
		p.used[port] = true
		return address, nil
	}
	return "", fmt.Errorf("no free port at %s after %d tries", host, portTries)
}
