package chrootexec

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drover/executor/driver"
)

func TestWhatJavaSaysOfItself(t *testing.T) {
	for _, c := range []struct {
		name, output string
		want         java
		fails        bool
	}{
		{name: "openjdk", output: "openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime Environment (build 17)\nOpenJDK 64-Bit Server VM (build 17, mixed mode)\n",
			want: java{"17.0.15", "OpenJDK Runtime Environment (build 17)", "OpenJDK 64-Bit Server VM (build 17, mixed mode)"}},
		{name: "settings told first", output: "Picked up _JAVA_OPTIONS: -Xmx1g\njava version \"1.8.0_45\"\nruntime\nvm\n", want: java{"1.8.0_45", "runtime", "vm"}},
		{name: "silent", output: "", fails: true},
		{name: "cut short", output: "openjdk version \"17\n", fails: true},
	} {
		if got, err := javaOf(c.output); got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

func TestAJavaProgram(t *testing.T) {
	d := &Java{config()}
	if info := d.Fingerprint(t.Context()); !info.Detected || info.Attributes["driver.java"] != "1" || info.Attributes["driver.java.version"] == "" {
		t.Fatalf("no Java here (Debian: default-jre-headless): %+v", info)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, c := range []struct {
		name, says string
		config     map[string]any
		code       int
	}{
		// A program that every Java brings along.
		{name: "class", says: "Key and Certificate Management Tool", config: map[string]any{
			"class": "sun.security.tools.keytool.Main", "jvm_options": []any{"-Xmx32m"}, "args": []any{"-help"},
		}},
		{name: "no such class", says: "Could not find or load main class no.such.Class", code: 1, config: map[string]any{
			"class": "no.such.Class", "class_path": "/local",
		}},
		{name: "no such jar", says: "Unable to access jarfile local/no.jar", code: 1, config: map[string]any{"jar_path": "local/no.jar"}},
	} {
		made := task(t, c.config)
		r, err := d.Start(ctx, made)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		exit, err := r.Wait(ctx)
		if err != nil || exit.Code != c.code {
			t.Errorf("%s: %+v, %v", c.name, exit, err)
		}
		said := ""
		for _, stream := range []string{"stdout", "stderr"} {
			b, err := os.ReadFile(filepath.Join(made.LogDir, "web."+stream+".0"))
			if err != nil {
				t.Error(err)
			}
			said += string(b)
		}
		if !strings.Contains(said, c.says) {
			t.Errorf("%s: said %q, want %q", c.name, said, c.says)
		}
		if err := r.Destroy(ctx); err != nil {
			t.Error(err)
		}
	}
	if _, err := d.Start(ctx, task(t, map[string]any{"args": []any{"x"}})); !errors.As(err, &driver.Invalid{}) {
		t.Errorf("neither jar nor class: %v", err)
	}
}
