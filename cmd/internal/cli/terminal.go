package cli

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"drover/cmd/internal/apiclient"
)

// rawTerminal has every key go to the reader as it is typed, none to the terminal itself: a program elsewhere has a
// terminal of its own that echoes and interrupts. restore makes it as it was.
func rawTerminal(f *os.File) (restore func(), err error) {
	fd := int(f.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("read the terminal's settings: %w", err)
	}
	raw := *before
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &raw); err != nil {
		return nil, fmt.Errorf("change the terminal's settings: %w", err)
	}
	return func() { unix.IoctlSetTermios(fd, unix.TCSETS, before) }, nil
}

// followSize tells the size of the terminal, at once and whenever it changes.
func followSize(f *os.File) (sizes <-chan apiclient.TerminalSize, stop func()) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	done := make(chan struct{})
	told := make(chan apiclient.TerminalSize, 1)
	go func() {
		for {
			if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil {
				select {
				case told <- apiclient.TerminalSize{Height: int(size.Row), Width: int(size.Col)}:
				case <-done:
					return
				}
			}
			select {
			case <-changed:
			case <-done:
				return
			}
		}
	}()
	return told, func() {
		signal.Stop(changed)
		close(done)
	}
}
