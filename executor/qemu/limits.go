package qemu

import "time"

const (
	// memoryMinMB and memoryMaxMB bound a guest's memory; the field's values.
	memoryMinMB = 128
	memoryMaxMB = 4_000_000
	// versionTimeout bounds the question for an emulator's version; a machine under load may take seconds.
	versionTimeout = 10 * time.Second
	// monitorTimeout bounds a request to the emulator's monitor, which answers at once.
	monitorTimeout = 2 * time.Second
)
