package wire

import (
	"bytes"
	"errors"
	"io"
	"os"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add(Spec{Path: "/bin/sh", Args: []string{"sh", ""}, SetUser: true, Groups: []uint32{1, 2}}.Message().Encode())
	f.Add(Exit{Code: 137, Signal: 9, Error: "x"}.Message().Encode())
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Decode(m.Encode())
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Fatalf("%v became %v, %v", m, again, err)
		}
		SpecOf(m)
		ProcessOf(m)
		ExitOf(m)
	})
}

func TestSpecSurvivesTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.String(), 1, 5)
		want := Spec{
			Path: rapid.String().Draw(t, "path"), Args: words.Draw(t, "args"), Env: words.Draw(t, "env"), Dir: rapid.String().Draw(t, "dir"),
			LogDir: rapid.String().Draw(t, "logdir"), LogName: rapid.String().Draw(t, "logname"),
			LogBytesMax: rapid.Int64().Draw(t, "bytes"), LogFilesMax: rapid.Int().Draw(t, "files"), LogsDisabled: rapid.Bool().Draw(t, "nologs"),
		}
		if rapid.Bool().Draw(t, "user") {
			want.SetUser, want.UID, want.GID = true, rapid.Uint32().Draw(t, "uid"), rapid.Uint32().Draw(t, "gid")
			want.Groups = rapid.SliceOfN(rapid.Uint32(), 1, 3).Draw(t, "groups")
		}
		if rapid.Bool().Draw(t, "oom") {
			want.SetOOMScoreAdj, want.OOMScoreAdj = true, rapid.IntRange(-1000, 1000).Draw(t, "adj")
		}
		if rapid.Bool().Draw(t, "maker") {
			want.Maker, want.Cgroups = true, words.Draw(t, "cgroups")
		}
		var pipe bytes.Buffer
		if err := Write(&pipe, want.Message()); err != nil {
			t.Fatal(err)
		}
		m, err := Read(&pipe)
		if err != nil {
			t.Fatal(err)
		}
		if got := SpecOf(m); !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}

func TestDamagedMessages(t *testing.T) {
	for _, c := range []struct {
		name string
		b    []byte
	}{
		{"too long", []byte{0xff, 0xff, 0xff, 0xff}},
		{"cut short", []byte{0, 0, 0, 5, 1, 'a'}},
		{"name without value", []byte{0, 0, 0, 2, 1, 'a'}},
	} {
		if m, err := Read(bytes.NewReader(c.b)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: %v, %v", c.name, m, err)
		}
	}
	if _, err := Read(bytes.NewReader(nil)); !errors.Is(err, io.EOF) {
		t.Errorf("end: %v", err)
	}
	// A record that was being written when the power went is not an exit.
	if _, err := ExitOf(Message{{"code", "0"}}); err == nil {
		t.Error("half a record is taken as an exit")
	}
}

func TestRecords(t *testing.T) {
	dir := t.TempDir()
	want := Exit{Code: 3, Time: 5}
	for _, sync := range []bool{true, false} {
		if err := SaveRecord(dir, ExitFile, want.Message(), sync); err != nil {
			t.Fatal(err)
		}
	}
	m, err := LoadRecord(dir, ExitFile)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ExitOf(m); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%d files are left, %v", len(entries), err)
	}
	if err := SaveRecord(dir+"/none", ExitFile, want.Message(), true); err == nil {
		t.Error("a record was written into a directory that does not exist")
	}
}
