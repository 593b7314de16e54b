package eventlog

import (
	"net"
	"sync"
	"testing"
)

// link is one direction of the network between two replicas: a TCP proxy that can be cut or held. Replicas are given its
// address instead of the other's, so the faults need no hook in the product.
type link struct {
	ln net.Listener
	to string

	mu    sync.Mutex
	cond  *sync.Cond
	cut   bool // connections are closed and new ones refused
	held  bool // bytes wait, as on a slow network
	ended bool
	conns map[net.Conn]bool
}

func newLink(t testing.TB, to string) *link {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{ln: ln, to: to, conns: map[net.Conn]bool{}}
	l.cond = sync.NewCond(&l.mu)
	go l.accept()
	t.Cleanup(l.close)
	return l
}

func (l *link) addr() string { return l.ln.Addr().String() }

func (l *link) accept() {
	for {
		in, err := l.ln.Accept()
		if err != nil {
			return
		}
		if !l.track(in) {
			continue
		}
		out, err := net.Dial("tcp", l.to)
		if err != nil || !l.track(out) {
			l.drop(in)
			continue
		}
		go l.copy(in, out)
		go l.copy(out, in)
	}
}

// track remembers a connection, or closes it if the link is cut.
func (l *link) track(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut || l.ended {
		c.Close()
		return false
	}
	l.conns[c] = true
	return true
}

func (l *link) drop(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	c.Close()
}

func (l *link) copy(from, to net.Conn) {
	defer l.drop(from)
	defer l.drop(to)
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		l.mu.Lock()
		for l.held && !l.cut && !l.ended {
			l.cond.Wait()
		}
		l.mu.Unlock()
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (l *link) set(cut, held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut, l.held = cut, held
	if cut {
		for c := range l.conns {
			c.Close()
		}
	}
	l.cond.Broadcast()
}

func (l *link) close() {
	l.ln.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	for c := range l.conns {
		c.Close()
	}
	l.cond.Broadcast()
}
