package linuxkit

import (
	"bytes"
	"reflect"

	"gopkg.in/yaml.v3"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// asLinuxKitReads makes of the documents what LinuxKit's command hands to its parser: to look for packages it writes each
// document of a file anew (build.go, processTemplates), and each after the first file, wherever it is from. That changes
// what a few texts say, such as the number of empty lines at the beginning or the end of a block, and LinuxKit's bytes are
// what counts. A document that means the same afterwards stays as the user wrote it.
func asLinuxKitReads(args []string, docs []*kilnv1.Document) {
	anew := false
	for i, doc := range docs {
		anew = anew || args[i] != "-" && !isURL(args[i])
		if !anew {
			continue
		}
		if text, ok := rewritten(doc.GetYaml()); ok {
			doc.Yaml = text
		}
	}
}

// rewritten is a document as the YAML package writes it, when that has another meaning and is YAML at all.
func rewritten(text []byte) ([]byte, bool) {
	var node yaml.Node
	if err := yaml.Unmarshal(text, &node); err != nil {
		return nil, false
	}
	out, err := yaml.Marshal(&node)
	if err != nil {
		return nil, false
	}
	before, err := meaning(text)
	if err != nil {
		return nil, false
	}
	after, err := meaning(out)
	return out, err == nil && !reflect.DeepEqual(before, after)
}

// meaning is what the first document of a stream says.
func meaning(text []byte) (any, error) {
	var value any
	err := yaml.NewDecoder(bytes.NewReader(text)).Decode(&value)
	return value, err
}
