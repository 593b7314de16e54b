// Package qemutest assembles virtual machines of one disk sector for tests.
package qemutest

import "encoding/binary"

// What a guest does at its end.
var (
	// Halt does nothing for ever.
	Halt = []byte{0xf4, 0xeb, 0xfd} // hlt; jmp to it
	// PowerOff writes to the power management of the emulator's usual machine, which ends it with code 0.
	PowerOff = append([]byte{
		0xba, 0x04, 0x06, // mov dx, 0x604
		0xb8, 0x00, 0x20, // mov ax, 0x2000
		0xef, // out dx, ax
	}, Halt...)
)

// Exit ends the emulator with code 0, or with an odd code by a device for tests: -device isa-debug-exit,iobase=0xf4,iosize=0x01.
func Exit(code int) []byte {
	if code == 0 {
		return PowerOff
	}
	if code%2 == 0 {
		panic("a guest cannot end with an even code")
	}
	return append([]byte{
		0xba, 0xf4, 0x00, // mov dx, 0xf4
		0xb0, byte(code >> 1), // mov al, code/2
		0xee, // out dx, al
	}, Halt...)
}

// BootSector is a whole guest: it writes two texts to its two serial ports, without any interrupt, and does the last thing.
func BootSector(first, second string, last []byte) []byte {
	const origin, size = 0x7c00, 512
	code := []byte{
		0xfa,       // cli
		0xfc,       // cld
		0x31, 0xc0, // xor ax, ax
		0x8e, 0xd8, // mov ds, ax
	}
	type call struct{ text, at int } // where the addresses of a text and of the subroutine stand
	var calls []call
	for _, port := range []uint16{0x3f8, 0x2f8} {
		c := call{text: len(code) + 1}
		code = append(code, 0xbe, 0, 0) // mov si, text
		code = append(code, 0xba)       // mov dx, port
		code = binary.LittleEndian.AppendUint16(code, port)
		c.at = len(code) + 1
		code = append(code, 0xe8, 0, 0) // call write
		calls = append(calls, c)
	}
	code = append(code, last...)
	write := len(code)
	code = append(code,
		0xac,       // write: lodsb
		0x84, 0xc0, // test al, al
		0x74, 0x12, // jz done
		0x88, 0xc4, // mov ah, al
		0x83, 0xc2, 0x05, // add dx, 5
		0xec,       // wait: in al, dx
		0xa8, 0x20, // test al, 0x20
		0x74, 0xfb, // jz wait
		0x83, 0xea, 0x05, // sub dx, 5
		0x88, 0xe0, // mov al, ah
		0xee,       // out dx, al
		0xeb, 0xe9, // jmp write
		0xc3, // done: ret
	)
	for i, text := range []string{first, second} {
		binary.LittleEndian.PutUint16(code[calls[i].text:], uint16(origin+len(code)))
		binary.LittleEndian.PutUint16(code[calls[i].at:], uint16(write-(calls[i].at+2)))
		code = append(append(code, text...), 0)
	}
	sector := make([]byte, size)
	if copy(sector[:size-2], code) < len(code) {
		panic("the guest does not fit into its sector")
	}
	sector[size-2], sector[size-1] = 0x55, 0xaa
	return sector
}
