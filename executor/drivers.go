package executor

import (
	"errors"
	"os"
	"path/filepath"

	"drover/executor/chrootexec"
	"drover/executor/container"
	"drover/executor/driver"
	"drover/executor/oci"
	"drover/executor/oci/image"
	"drover/executor/qemu"
	"drover/executor/rawexec"
	"drover/executor/shim"
)

// builtinDrivers are the drivers that drover brings along.
func builtinDrivers(cfg *Config) ([]driver.Driver, error) {
	bin := filepath.Join(cfg.StateDir, "bin")
	var err error
	shimPath := cfg.ShimPath
	if shimPath == "" {
		shimPath, err = shim.Extract(bin, shim.Shim)
		if err != nil && (cfg.RawExecEnabled || !errors.Is(err, shim.ErrNotBuilt)) {
			return nil, err
		}
	}
	var all []driver.Driver
	if cfg.RawExecEnabled {
		all = append(all, &rawexec.Driver{Shim: shimPath, Denied: cfg.RawExecDenied, EnvDenied: cfg.RawExecEnvDenied})
	}
	makerPath := cfg.ContainerMakerPath
	if makerPath == "" && os.Geteuid() == 0 { // nobody else can make containers
		if makerPath, err = shim.Extract(bin, shim.ContainerMaker); err != nil && !errors.Is(err, shim.ErrNotBuilt) {
			return nil, err
		}
	}
	runtime := container.Runtime{Shim: shimPath, Maker: makerPath}
	isolated := func(policy container.Policy) chrootexec.Config {
		return chrootexec.Config{Runtime: runtime, ChrootEnv: cfg.ChrootEnv, Policy: policy}
	}
	return append(all, &chrootexec.Exec{Config: isolated(cfg.Exec)}, &chrootexec.Java{Config: isolated(cfg.Java)}, &qemu.Driver{Config: cfg.Qemu, Shim: shimPath},
		&oci.Driver{Runtime: runtime, Policy: cfg.OCI, Images: image.OpenStore(filepath.Join(cfg.StateDir, "images"))}), nil
}
