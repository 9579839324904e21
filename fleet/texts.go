package fleet

import (
	"bytes"
	"path"
	"slices"

	"gopkg.in/yaml.v3"
)

// namedTexts are the files that a folder's files name as texts ({file: PATH}). A template may be called web.yml, and is not to be
// read as a description.
func namedTexts(files []File) map[string]bool {
	named := map[string]bool{}
	for _, f := range files {
		for _, doc := range documents(f) {
			visits := 0
			walk(doc, &visits, func(n *yaml.Node) {
				if n.Kind == yaml.MappingNode && len(n.Content) == 2 && n.Content[0].Value == "file" && n.Content[1].Kind == yaml.ScalarNode {
					if name := path.Join(path.Dir(f.Name), n.Content[1].Value); name != f.Name {
						named[name] = true
					}
				}
			})
		}
	}
	return named
}

// describes says whether a file has one of the lists that a description has: then it is read, whoever names it.
func describes(f File) bool {
	for _, doc := range documents(f) {
		if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
			continue
		}
		for i := 0; i < len(doc.Content[0].Content); i += 2 {
			if slices.Contains([]string{"machines", "groups", "releases", "subnets"}, doc.Content[0].Content[i].Value) {
				return true
			}
		}
	}
	return false
}

// documents are the YAML documents of a file, as far as it is YAML.
func documents(f File) (docs []*yaml.Node) {
	defer func() { _ = recover() }() // the YAML parser's: its input comes from anybody
	if len(f.Data) > maxFile {
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(f.Data))
	for {
		doc := &yaml.Node{}
		if decoder.Decode(doc) != nil {
			return docs
		}
		docs = append(docs, doc)
	}
}

// walk visits a node and what is in it, without what aliases repeat.
func walk(n *yaml.Node, visits *int, visit func(*yaml.Node)) {
	if *visits++; *visits > maxVisits {
		return
	}
	visit(n)
	for _, c := range n.Content {
		walk(c, visits, visit)
	}
}
