package bench

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progress tells how far a run is: one line that is written over on a terminal,
// a line now and then elsewhere.
type progress struct {
	out      io.Writer
	terminal bool
	begin    time.Time

	mu    sync.Mutex
	what  func() string
	width int // of what stands on the terminal's line
	stop  chan struct{}
	done  sync.WaitGroup
}

func newProgress(out io.Writer, terminal bool) *progress {
	p := &progress{out: out, terminal: terminal, begin: time.Now(), stop: make(chan struct{})}
	every := progressEvery
	if terminal {
		every = progressTick
	}
	p.done.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				p.show()
			case <-p.stop:
				return
			}
		}
	})
	return p
}

// phase begins a part of the run; what, if not nil, tells how far it is.
func (p *progress) phase(name string, what func() string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.what = func() string { return name }
	if what != nil {
		p.what = func() string { return name + ": " + what() }
	}
	p.write(name)
}

func (p *progress) show() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.what != nil {
		p.write(p.what())
	}
}

func (p *progress) write(text string) {
	line := fmt.Sprintf("%6.1fs  %s", time.Since(p.begin).Seconds(), text)
	if !p.terminal {
		fmt.Fprintln(p.out, line)
		return
	}
	p.clear()
	fmt.Fprint(p.out, line)
	p.width = len(line)
}

// clear empties the terminal's line.
func (p *progress) clear() {
	if p.width > 0 {
		fmt.Fprint(p.out, "\r"+strings.Repeat(" ", p.width)+"\r")
		p.width = 0
	}
}

// note writes a line that stays.
func (p *progress) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprintf(p.out, format+"\n", args...)
}

func (p *progress) end() {
	close(p.stop)
	p.done.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}
