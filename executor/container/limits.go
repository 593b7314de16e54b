package container

import "time"

const (
	// sharesMin is the least weight of a group that the kernel takes.
	sharesMin = 2
	// shmBytes is the size of a task's own /dev/shm.
	shmBytes = "64m"
	// killTimeout bounds the wait for the death of a program whose session has ended; it takes milliseconds, unless somebody
	// has frozen the container.
	killTimeout = 10 * time.Second
	// terminalNameBytes is room for the name that comes with a terminal, a path below /dev.
	terminalNameBytes = 4096
)
