package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kiln-farm/kiln/internal/lab"
)

// How Kea keeps its leases. Its lease file is appended to without fsync, and another Kea has no part in it; what Kiln promises
// with an ACK, that no crash of one server loses it, Kea has with one of the other two.
const (
	keaPlain   = iota
	keaSync    // each write is on disk before the answer
	keaStandby // each lease is with a second Kea before the answer (hooks-ha, hot standby)
)

const (
	keaHooks   = "/usr/lib/*/kea/hooks/"
	keaPort    = 8067 // of the hook's own listener
	keaPartner = 20 * time.Second
)

type object = map[string]any

// kea appends each lease to a file, and cleans that up every hour by default.
func (d *dhcpBench) kea(how int) error {
	names := []string{"server"}
	if how == keaStandby {
		names = append(names, "standby")
	}
	var servers []*lab.Guest
	var peers []object
	for i, name := range names {
		s, err := d.server(name)
		if err != nil {
			return err
		}
		servers = append(servers, s)
		peers = append(peers, object{"name": name, "url": fmt.Sprintf("http://%s:%d/", s.Address, keaPort), "role": []string{"primary", "standby"}[i]})
	}
	for i, name := range names {
		dir := filepath.Join(d.dir, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		if how == keaSync {
			if err := writeThrough(dir); err != nil {
				return fmt.Errorf("%w: files of %s cannot be written through: %w", errMissing, dir, err)
			}
		}
		config := keaConfig(filepath.Join(dir, "leases.csv"))
		if how == keaStandby {
			hooks, _ := filepath.Glob(keaHooks + "libdhcp_ha.so") // the pattern is a good one
			if len(hooks) == 0 {
				return fmt.Errorf("%w: %slibdhcp_ha.so", errMissing, keaHooks)
			}
			config["hooks-libraries"] = []object{
				{"library": filepath.Join(filepath.Dir(hooks[0]), "libdhcp_lease_cmds.so")},
				{"library": hooks[0], "parameters": object{"high-availability": []object{{
					"this-server-name": name, "mode": "hot-standby", "peers": peers,
					"multi-threading": object{"enable-multi-threading": true, "http-dedicated-listener": true},
				}}}},
			}
		}
		data, err := json.Marshal(object{"Dhcp4": config})
		path := filepath.Join(dir, "kea.json")
		if err = errors.Join(err, os.WriteFile(path, data, 0o600)); err != nil {
			return err
		}
		if err := d.start(servers[i], name, []string{"KEA_PIDFILE_DIR=" + dir, "KEA_LOCKFILE_DIR=" + dir}, "kea-dhcp4", "-c", path); err != nil {
			return err
		}
	}
	if how == keaStandby {
		time.Sleep(keaPartner) // until both have heard of each other: until then one alone answers
	}
	return nil
}

func keaConfig(leases string) object {
	return object{
		"interfaces-config": object{"interfaces": []string{"eth0"}}, "authoritative": true, "match-client-id": false, "valid-lifetime": dhcpLease,
		"lease-database":  object{"type": "memfile", "persist": true, "name": leases},
		"multi-threading": object{"enable-multi-threading": true},
		"subnet4":         []object{{"id": 1, "subnet": dhcpPrefix, "relay": object{"ip-addresses": []string{dhcpRelay}}, "pools": []object{{"pool": dhcpFrom + " - " + dhcpTo}}}},
		"loggers":         []object{{"name": "kea-dhcp4", "severity": "WARN", "output_options": []object{{"output": "stdout"}}}},
	}
}

// writeThrough has each write to a file of a directory, which files are made in from now on, return when it is on disk (chattr +S).
func writeThrough(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		return err
	}
	const syncFlag = 0x8 // FS_SYNC_FL of linux/fs.h
	return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(flags|syncFlag))
}
