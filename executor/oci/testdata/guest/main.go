// Guest is the one program of the images that tests make: it needs nothing else in its root file system.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	for i := 1; i < len(os.Args); i++ {
		word, value, _ := strings.Cut(os.Args[i], "=")
		switch word {
		case "out":
			fmt.Print(value)
		case "err":
			fmt.Fprint(os.Stderr, value)
		case "exit":
			code, _ := strconv.Atoi(value)
			os.Exit(code)
		case "wait": // for its kill signal, or for ever
			caught := make(chan os.Signal, 1)
			if value == "stubborn" {
				signal.Ignore(syscall.SIGTERM)
			}
			signal.Notify(caught, syscall.SIGUSR1)
			fmt.Println("ready")
			<-caught
		case "cat":
			b, err := os.ReadFile(value)
			fmt.Printf("%s: %q %v\n", value, b, err != nil)
		case "ls":
			entries, err := os.ReadDir(value)
			var names []string
			for _, e := range entries {
				names = append(names, e.Name())
			}
			fmt.Println(value+":", strings.Join(names, " "), err != nil)
		case "write":
			fmt.Println("write", value, os.WriteFile(value, []byte("x"), 0o644) != nil)
		case "call": // of the kernel, by number, with two arguments
			var n [3]uintptr
			for i, text := range strings.Split(value, ",") {
				v, _ := strconv.ParseUint(text, 0, 64)
				n[i] = uintptr(v)
			}
			_, _, errno := syscall.RawSyscall(n[0], n[1], n[2], 0)
			fmt.Printf("%d ", int(errno))
		case "env":
			fmt.Println(value, os.Getenv(value))
		case "who":
			dir, _ := os.Getwd()
			fmt.Println(os.Getuid(), os.Getgid(), dir, os.Getpid())
		}
	}
}
