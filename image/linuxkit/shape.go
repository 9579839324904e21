package linuxkit

import "math"

// kind is what a value of the YAML may be.
type kind int

const (
	text kind = iota
	boolean
	integer    // between low and high
	identifier // a user or group: a name or a number
	list       // of item
	object     // of fields
	mapping    // of any keys to text
)

// shape is what one place of the YAML may hold: the grammar of LinuxKit's JSON schema (moby/schema.go), together
// with the ranges of the Go types that its parser decodes numbers into.
type shape struct {
	kind      kind
	low, high float64 // of an integer, inclusive
	item      *shape
	fields    map[string]*shape
	required  []string
}

func (s *shape) names() []string {
	names := make([]string, 0, len(s.fields))
	for name := range s.fields {
		names = append(names, name)
	}
	return names
}

// grammar is the shape of a whole document and of an image's label (org.mobyproject.config).
func grammar() (document, label *shape) {
	str, flag, id := &shape{kind: text}, &shape{kind: boolean}, &shape{kind: identifier}
	// The upper ends are rounded down to what a float64 holds: stricter by a few values than LinuxKit.
	signed := &shape{kind: integer, low: math.MinInt64, high: 1<<63 - 1024}
	natural := &shape{kind: integer, high: 1<<63 - 1024}
	small := &shape{kind: integer, low: math.MinInt32, high: math.MaxInt32}
	word := &shape{kind: integer, high: math.MaxUint32}
	half := &shape{kind: integer, high: math.MaxUint16}
	of := func(item *shape) *shape { return &shape{kind: list, item: item} }
	obj := func(fields map[string]*shape, required ...string) *shape {
		return &shape{kind: object, fields: fields, required: required}
	}
	texts, texted := of(str), &shape{kind: mapping}

	ids := of(obj(map[string]*shape{"hostID": word, "containerID": word, "size": word}))
	mounts := of(obj(map[string]*shape{
		"destination": str, "type": str, "source": str, "options": texts, "uidmappings": ids, "gidmappings": ids,
	}))
	throttle := of(obj(map[string]*shape{"major": signed, "minor": signed, "rate": natural}))
	resources := obj(map[string]*shape{
		"devices": of(obj(map[string]*shape{"allow": flag, "type": str, "major": signed, "minor": signed, "access": str})),
		"memory": obj(map[string]*shape{
			"limit": signed, "reservation": signed, "swap": signed, "kernel": signed, "kernelTCP": signed,
			"swappiness": natural, "disableOOMKiller": flag,
		}),
		"cpu": obj(map[string]*shape{
			"shares": natural, "quota": signed, "period": natural, "realtimeRuntime": signed, "realtimePeriod": natural,
			"cpus": str, "mems": str,
		}),
		"pids": obj(map[string]*shape{"limit": signed}),
		"blockio": obj(map[string]*shape{
			"weight": half, "leafWeight": half,
			"weightDevice":          of(obj(map[string]*shape{"major": signed, "minor": signed, "weight": half, "leafWeight": half})),
			"throttleReadBpsDevice": throttle, "throttleWriteBpsDevice": throttle,
			"throttleReadIOPSDevice": throttle, "throttleWriteIOPSDevice": throttle,
		}),
		"hugepageLimits": of(obj(map[string]*shape{"pageSize": natural, "limit": natural})),
		"network": obj(map[string]*shape{
			"classID": word, "priorities": of(obj(map[string]*shape{"name": str, "priority": word})),
		}),
	})
	runtime := obj(map[string]*shape{
		"cgroups": texts, "mounts": mounts, "mkdir": texts,
		"interfaces": of(obj(map[string]*shape{"name": str, "add": str, "peer": str, "createInRoot": flag})),
		"bindNS": obj(map[string]*shape{
			"cgroup": str, "ipc": str, "mnt": str, "net": str, "pid": str, "user": str, "uts": str,
		}),
		"namespace": str,
	})
	config := map[string]*shape{
		"capabilities": texts, "capabilities.add": texts, "ambient": texts, "mounts": mounts, "binds": texts,
		"binds.add": texts, "tmpfs": texts, "command": texts, "env": texts, "cwd": str, "net": str, "pid": str,
		"devices": of(obj(map[string]*shape{"path": str, "type": str, "major": signed, "minor": signed, "mode": str})),
		"ipc":     str, "uts": str, "userns": str, "readonly": flag, "maskedPaths": texts, "readonlyPaths": texts,
		"uid": id, "gid": id, "additionalGids": of(id), "noNewPrivileges": flag, "hostname": str, "oomScoreAdj": small,
		"rootfsPropagation": str, "cgroupsPath": str, "resources": resources, "sysctl": texted, "rlimits": texts,
		"uidMappings": ids, "gidMappings": ids, "annotations": texted, "runtime": runtime,
	}
	label = obj(config)
	container := map[string]*shape{"name": str, "image": str}
	for name, s := range config {
		container[name] = s
	}
	containers := of(obj(container, "name", "image"))
	return obj(map[string]*shape{
		"kernel": obj(map[string]*shape{"image": str, "cmdline": str, "binary": str, "tar": str, "ucode": str}),
		"init":   texts, "onboot": containers, "onshutdown": containers, "services": containers,
		"trust": obj(map[string]*shape{"image": texts, "org": texts}),
		"files": of(obj(map[string]*shape{
			"path": str, "directory": flag, "symlink": str, "contents": str, "source": str, "metadata": str,
			"optional": flag, "mode": str, "uid": id, "gid": id,
		})),
		"volumes": of(obj(map[string]*shape{
			"name": str, "image": str, "readonly": flag, "format": str, "platforms": texts,
		})),
		settingsKey: settingsShape(),
	}), label
}
