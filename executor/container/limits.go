package container

const (
	// sharesMin is the least weight of a group that the kernel takes.
	sharesMin = 2
	// shmBytes is the size of a task's own /dev/shm.
	shmBytes = "64m"
)
