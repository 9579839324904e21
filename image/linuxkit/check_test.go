package linuxkit

import (
	"errors"
	"testing"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/linuxkit/linuxkit/src/cmd/linuxkit/moby"
)

func document(name, yaml string) *kilnv1.Document {
	return &kilnv1.Document{Name: name, Yaml: []byte(yaml)}
}

func TestBadDocumentsGetASentence(t *testing.T) {
	for _, c := range []struct{ name, yaml, want string }{
		{"an unknown key of a service", "services:\n  - name: web\n    imagee: nginx\n    image: nginx\n",
			`hello.yml:3: unknown key "imagee" in services[0]; did you mean "image"?`},
		{"an unknown section", "kernel: {image: k}\nservcies: []\n",
			`hello.yml:2: unknown key "servcies" in the document; did you mean "services"?`},
		{"an unknown key that is near none", "kernel:\n  image: k\n  xyzzyplugh: 1\n",
			`hello.yml:3: unknown key "xyzzyplugh" in kernel; known keys are binary, cmdline, image, tar and ucode`},
		{"a string where a list belongs", "init: linuxkit/init:1\n",
			`hello.yml:1: init must be a list of strings, not the string "linuxkit/init:1"; write it as a list: ["linuxkit/init:1"]`},
		{"a number where a string belongs", "files:\n  - path: etc/x\n    contents: y\n    mode: 0644\n",
			`hello.yml:4: files[0].mode must be a string, not the number 0644; put it in quotes: mode: "0644"`},
		{"a number in a list of strings", "services:\n  - name: a\n    image: b\n    command: [sleep, 10]\n",
			`hello.yml:4: services[0].command[1] must be a string, not the number 10; put it in quotes: "10"`},
		{"a string where a boolean belongs", "services:\n  - name: a\n    image: b\n    readonly: \"true\"\n",
			`hello.yml:4: services[0].readonly must be true or false, not the string "true"; write true or false without quotes`},
		{"a section with nothing", "kernel: {image: k}\nservices:\n",
			`hello.yml:2: services must be a list of mappings, not nothing; give it a value or leave the key out`},
		{"a number out of range", "services:\n  - name: a\n    image: b\n    oomScoreAdj: 99999999999\n",
			`hello.yml:4: services[0].oomScoreAdj must be a whole number from -2147483648 to 2147483647, not the number 99999999999; write a number in that range without quotes`},
		{"a service without a name", "services:\n  - image: b\n",
			`hello.yml:2: services[0] has no "name"; give it one, such as "name: web"`},
		{"a service without an image", "services:\n  - name: b\n",
			`hello.yml:2: services[0] has no "image"; say which image to run, such as "image: docker.io/library/nginx:1.27"`},
		{"a key twice", "init: [a]\ninit: [b]\n",
			`hello.yml:2: key "init" is there twice in the document; keep one`},
		{"a key that is a number", "services:\n  - name: a\n    image: b\n    sysctl: {1: \"2\"}\n",
			`hello.yml:4: services[0].sysctl has a key that is not a string; put it in quotes`},
		{"an empty document", "# nothing\n",
			`hello.yml:1: the document is empty; it needs at least one section, such as kernel or init`},
		{"a document that is a list", "- a\n",
			`hello.yml:1: the document must be a mapping, not a list; write its keys below it, indented`},
		{"broken YAML", "init: [a\nkernel: {\n",
			`hello.yml:1: not valid YAML: did not find expected ',' or ']'`},
		{"a package reference", "init:\n  - \"@pkg:./init\"\n",
			`hello.yml:2: "@pkg:./init" refers to a package directory, which Kiln does not resolve; write the image's full name, which "linuxkit pkg show-tag DIR" prints`},
		{"a service's name with a slash", "services:\n  - name: a/../../x\n    image: b\n",
			`hello.yml:2: services[0].name "a/../../x" must not leave its directory; use a name without "/", and not "." or ".."`},
		{"a service's name of two dots", "onboot:\n  - name: \"..\"\n    image: b\n",
			`hello.yml:2: onboot[0].name ".." must not leave its directory; use a name without "/", and not "." or ".."`},
		{"two services of one name", "services:\n  - {name: a, image: b}\n  - {name: a, image: c}\n",
			`hello.yml:3: service "a" is there already, at hello.yml:2; give one of them another name`},
		{"a reference that is none", "init: [\"a b:c\"]\n",
			`hello.yml:1: init[0] "a b:c" is not an image reference; write it like "registry.example/name:tag", in lower case`},
		{"a volume's name", "volumes:\n  - name: Data\n",
			`hello.yml:2: volumes[0].name "Data" is not a volume name; use lower-case letters, digits, "_" and "-"`},
		{"a volume's format", "volumes:\n  - {name: d, format: tar}\n",
			`hello.yml:2: volumes[0].format "tar" is unknown; write "oci" or "filesystem"`},
		{"a volume's platform", "volumes:\n  - {name: d, image: i, format: oci, platforms: [amd64]}\n",
			`hello.yml:2: volumes[0].platforms[0] "amd64" is not a platform; write it like "linux/amd64"`},
		{"two volumes of one name", "volumes:\n  - {name: d}\n  - {name: d}\n",
			`hello.yml:3: volume "d" is there already; give one of them another name`},
		{"a bind of no volume", "volumes: [{name: data}]\nservices:\n  - {name: a, image: b, binds: [\"dato:/x\"]}\n",
			`hello.yml:3: services[0].binds[0] names the volume "dato", which does not exist; did you mean "data"?`},
		{"a bind without a destination", "services:\n  - {name: a, image: b, binds: [\"/x\"]}\n",
			`hello.yml:2: services[0].binds[0] "/x" is not SOURCE:DESTINATION[:OPTIONS]; write it like "/etc:/etc:ro"`},
		{"a read-only volume mounted writable", "volumes: [{name: d, readonly: true}]\nservices:\n  - {name: a, image: b, binds: [\"d:/x\"]}\n",
			`hello.yml:3: services[0].binds[0] mounts the read-only volume "d" writable; add the option "ro"`},
		{"an unknown capability", "services:\n  - {name: a, image: b, capabilities: [CAP_NET_ADMN]}\n",
			`hello.yml:2: services[0].capabilities has the unknown capability "CAP_NET_ADMN"; did you mean "CAP_NET_ADMIN"?`},
		{"an unknown user", "services:\n  - {name: web, image: b, uid: wbe}\n",
			`hello.yml:2: services[0].uid "wbe" is nobody's name; did you mean "web"?`},
		{"an unknown limit", "services:\n  - {name: a, image: b, rlimits: [\"files,1,2\"]}\n",
			`hello.yml:2: services[0].rlimits[0] has the unknown limit "files"; known limits are as, core, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, nproc, rss, rtprio, rttime, sigpending and stack`},
		{"a limit that is no number", "services:\n  - {name: a, image: b, rlimits: [\"nofile,many,2\"]}\n",
			`hello.yml:2: services[0].rlimits[0] has the limit "many", which is neither a number nor "unlimited"; write it like "nofile,1024,4096"`},
		{"a device without a mode", "services:\n  - {name: a, image: b, devices: [{path: /dev/x, type: c}]}\n",
			`hello.yml:2: services[0].devices[0] has no mode; add one, such as mode: "0666"`},
		{"a mount without a type", "services:\n  - {name: a, image: b, mounts: [{destination: /x}]}\n",
			`hello.yml:2: services[0].mounts[0] has no type; add one, such as "type: tmpfs" or "type: bind"`},
		{"a file without a path", "files:\n  - {contents: x}\n",
			`hello.yml:2: files[0] has no path; add one, such as "path: etc/motd"`},
		{"a file above the root", "files:\n  - {path: a/../../b, contents: x}\n",
			`hello.yml:2: files[0].path "a/../../b" leaves the root filesystem; write it without ".."`},
		{"a file above the root, by a way through it", "files:\n  - {path: //a/../../b, contents: x}\n",
			`hello.yml:2: files[0].path "//a/../../b" leaves the root filesystem; write it without ".."`},
		{"the root as a file", "files:\n  - {path: /, contents: x}\n",
			`hello.yml:2: files[0].path "/" names no file; write it like "etc/motd"`},
		{"a file with a directory's name", "files:\n  - {path: etc/., contents: x}\n",
			`hello.yml:2: files[0].path "etc/." names a directory; write "etc", or add "directory: true"`},
		{"a file that holds something, with a slash at its end", "files:\n  - {path: etc/a/, contents: x}\n",
			`hello.yml:2: files[0].path "etc/a/" ends in a slash, as directories do, but the file holds something; write "etc/a"`},
		{"bytes that are no base64", "files:\n  - {path: c, contents: !!binary \"?\"}\n",
			`hello.yml:2: files[0].contents must be a string, not something that is not base64; write base64, or the text itself without !!binary`},
		{"a mode that is not octal", "files:\n  - {path: c, contents: x, mode: rwx}\n",
			`hello.yml:2: files[0].mode "rwx" is not an octal mode; write it like "0644"`},
		{"a file with nothing in it", "files:\n  - {path: c}\n",
			`hello.yml:2: files[0] says nothing of what the file holds; add one of contents, source, metadata, symlink or "directory: true"`},
		{"a file with two contents", "files:\n  - {path: c, contents: x, source: y}\n",
			`hello.yml:2: files[0] has contents and source; keep one of them`},
		{"a directory with contents", "files:\n  - {path: c, directory: true, contents: x}\n",
			`hello.yml:2: files[0] has directory and contents; keep one of them`},
		{"a document that contains itself", "services: &a\n  - *a\n",
			`hello.yml:1: services[0] must be a mapping, not a list; write its keys below it, indented`},
		{"two faults are two sentences", "init: a\nonboot: b\n",
			`hello.yml:1: init must be a list of strings, not the string "a"; write it as a list: ["a"]` + "\n" +
				`hello.yml:2: onboot must be a list of mappings, not the string "b"; start each item with "- "`},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Check([]*kilnv1.Document{document("hello.yml", c.yaml)})
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			if !errors.Is(err, ErrInput) {
				t.Error("the error is not ErrInput")
			}
		})
	}
}

func TestNamesAreKnownOverAllDocuments(t *testing.T) {
	docs := []*kilnv1.Document{
		document("a.yml", "volumes: [{name: data}]\nservices: [{name: web, image: b}]\n"),
		document("b.yml", "services: [{name: db, image: b, uid: web, binds: [\"data:/x\"]}]\n"),
	}
	if err := Check(docs); err != nil {
		t.Errorf("got %v, want no complaint", err)
	}
	docs = append(docs, document("c.yml", "services: [{name: web, image: b}]\n"))
	want := `c.yml:1: service "web" is there already, at a.yml:2; give one of them another name`
	if err := Check(docs); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestGoodDocumentsPass(t *testing.T) {
	for name, yaml := range map[string]string{
		"anchors and merge keys": "onboot:\n  - &a {name: a, image: i, env: [A=1]}\n  - {<<: *a, name: b}\n",
		"an empty list":          "services: []\n",
		"root by name":           "services: [{name: a, image: i, uid: root}]\n",
		"one leading slash":      "files: [{path: /etc/x, contents: \"\"}]\n",
		"a second document":      "init: [a]\n---\nnonsense: true\n",
		"trust is ignored":       "trust: {org: [linuxkit]}\ninit: [a]\n",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Merge(&kilnv1.ConfigBundle{Documents: []*kilnv1.Document{document("hello.yml", yaml)}}); err != nil {
				t.Error(err)
			}
		})
	}
}

// What Check accepts LinuxKit's parser must accept, because it complains on standard output.
func FuzzCheckIsStricterThanLinuxKit(f *testing.F) {
	for _, seed := range []string{
		"init: [a]\n", "services: [{name: a, image: b, oomScoreAdj: -5}]\n", "onboot:\n - &a {name: a, image: i}\n - {<<: *a, name: b}\n",
		"files: [{path: /a, contents: !!str 5, uid: 3}]\n", "kernel: {image: a, cmdline: 2001-01-01}\n", "volumes: [{name: a, platforms: [linux/amd64]}]\n",
		"services: [{name: a, image: b, resources: {memory: {limit: 0x10}, cpu: {shares: 1_0}}}]\n", "? [a]\n: b\n", "a: &a [*a]\n",
		"services: [{name: a, image: b, sysctl: {a: b}, runtime: {bindNS: {net: x}}}]\n", "trust: {org: !!binary aGk=}\n", "init: [1e3, .inf]\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, yaml []byte) {
		doc := document("fuzz.yml", string(yaml))
		if Check([]*kilnv1.Document{doc}) != nil {
			return
		}
		if _, err := moby.NewConfig(yaml, nil); err != nil {
			t.Errorf("Check accepts what LinuxKit refuses: %v", err)
		}
	})
}
