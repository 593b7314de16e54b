package cli

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/posener/complete"
)

// formatter lays out files of HCL.
type formatter struct {
	check, list, write, recursive bool
}

func fmtSpec() spec {
	return spec{
		name: "fmt", args: "[path]...",
		synopsis: "Lay out job files and configuration files",
		about: "Rewrite files of HCL in the usual layout. A path is a file, a directory, whose .hcl and .nomad files are laid out,\n" +
			"or \"-\" for the standard input; without one it is the working directory.",
		predict: complete.PredictFiles("*"),
		setup: func(fs *flag.FlagSet) runFunc {
			var f formatter
			fs.BoolVar(&f.check, "check", false, "Write nothing; exit with 1 if a file is not laid out.")
			fs.BoolVar(&f.list, "list", true, "Print the names of the files that are not laid out. Default = true.")
			fs.BoolVar(&f.write, "write", true, "Write the files. Default = true, but not with -check or \"-\".")
			fs.BoolVar(&f.recursive, "recursive", false, "Look into directories inside of directories, too.")
			return func(in *invocation, args []string) int {
				if len(args) == 0 {
					args = []string{"."}
				}
				return f.run(in, args)
			}
		},
	}
}

func (f *formatter) run(in *invocation, paths []string) int {
	code := 0
	for _, path := range paths {
		changed, err := f.path(in, path)
		if err != nil {
			in.ui.Error(err.Error())
			code = 1
		}
		if changed && f.check {
			code = 1
		}
	}
	return code
}

func (f *formatter) path(in *invocation, path string) (changed bool, err error) {
	if path == "-" {
		text, err := io.ReadAll(in.p.Stdin)
		if err != nil {
			return false, fmt.Errorf("Failed to read the standard input: %w", err)
		}
		fresh, err := laidOut(text, "<stdin>")
		if err != nil {
			return false, err
		}
		if !f.check {
			_, err = in.ui.out.Write(fresh)
		}
		return !bytes.Equal(text, fresh), err
	}
	info, err := os.Stat(path)
	if err != nil {
		return false, fmt.Errorf("Failed to read %s: %w", path, err)
	}
	if !info.IsDir() {
		return f.file(in, path, info.Mode())
	}
	var errs []error
	err = filepath.WalkDir(path, func(at string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && at != path && (!f.recursive || strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case !d.Type().IsRegular() || !slices.Contains([]string{".hcl", ".nomad"}, filepath.Ext(at)):
			return nil
		}
		one, err := f.file(in, at, 0o644)
		changed = changed || one
		errs = append(errs, err)
		return nil
	})
	return changed, errors.Join(append(errs, err)...)
}

// file lays out one file. It is written in place, so that its owner and mode stay.
func (f *formatter) file(in *invocation, path string, mode fs.FileMode) (changed bool, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return false, fmt.Errorf("Failed to read %s: %w", path, err)
	}
	fresh, err := laidOut(text, path)
	if err != nil || bytes.Equal(text, fresh) {
		return false, err
	}
	if f.list {
		in.ui.Output(path)
	}
	if f.write && !f.check {
		if err := os.WriteFile(path, fresh, mode.Perm()); err != nil {
			return true, fmt.Errorf("Failed to write %s: %w", path, err)
		}
	}
	return true, nil
}

// laidOut is a text in the usual layout. One that is no HCL stays as it is.
func laidOut(text []byte, name string) ([]byte, error) {
	if _, diags := hclsyntax.ParseConfig(text, name, hcl.InitialPos); diags.HasErrors() {
		return nil, fmt.Errorf("Failed to lay out %s: %s", name, diags.Error())
	}
	return hclwrite.Format(text), nil
}
