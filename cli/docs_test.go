package cli

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/edge/config"
	"github.com/kiln-farm/kiln/fleet/templates"
)

// docBlock is a block of README.md or docs/*.md: fenced, or indented by four spaces behind an empty line.
type docBlock struct {
	file string // "docs/edge.md"
	line int
	lang string // of a fenced one
	text string
}

// blocksOf reads a page.
func blocksOf(name, text string) []docBlock {
	var out []docBlock
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		if lang, ok := strings.CutPrefix(lines[i], "```"); ok {
			b := docBlock{file: name, line: i + 2, lang: lang}
			for i++; i < len(lines) && !strings.HasPrefix(lines[i], "```"); i++ {
				b.text += lines[i] + "\n"
			}
			out = append(out, b)
			continue
		}
		if !strings.HasPrefix(lines[i], "    ") || i > 0 && strings.TrimSpace(lines[i-1]) != "" {
			continue
		}
		b := docBlock{file: name, line: i + 1}
		for ; i < len(lines) && (strings.HasPrefix(lines[i], "    ") || strings.TrimSpace(lines[i]) == ""); i++ {
			b.text += strings.TrimLeft(lines[i], " ") + "\n"
		}
		out = append(out, b)
		i--
	}
	return out
}

var inQuotes = regexp.MustCompile(`'[^']*'|"[^"]*"`)

// commands are the lines of a block that begin with kiln, without what is behind "#", each command of "a && b" alone.
func (b docBlock) commands() [][]string {
	var out [][]string
	for line := range strings.SplitSeq(b.text, "\n") {
		line, _, _ = strings.Cut(line, " #")
		for one := range strings.SplitSeq(line, "&&") {
			words := strings.Fields(inQuotes.ReplaceAllString(one, "TEXT"))
			if len(words) > 1 && (words[0] == "kiln" || words[0] == "bin/kiln") {
				out = append(out, words[1:])
			}
		}
	}
	return out
}

// The blocks that are run, by a word of theirs, and why others are not.
const (
	hosts     = "it is for hosts of a farm: systemd, users, or several machines"
	others    = "it is another program's"
	form      = "it is a form and not a command"
	elsewhere = "e2e does the same"
)

// docBlocks says of each block of each page, in their order, what runs it, or why nothing does. The commands of all of them are checked
// against what kiln knows.
var docBlocks = map[string][]string{
	"README.md":       {elsewhere, elsewhere, elsewhere, elsewhere, elsewhere, elsewhere, hosts},
	"docs/edge.md":    {"TestTheRoomOfTheDocs", "TestTheRoomOfTheDocs", hosts, hosts, others},
	"docs/dhcp.md":    {"TestTheSubnetsOfTheDocs", "TestTheSubnetsOfTheDocs", "TestTheSubnetsOfTheDocs", form, "it needs a name server's key; TestNames does the same", others, hosts, form, hosts, hosts, hosts},
	"docs/build.md":   {form, form},
	"docs/farm.md":    {hosts},
	"docs/formats.md": {form, "e2e builds what it describes", "it needs a key of the reader's", "it needs QEMU; e2e does the same"},
	"docs/server.md":  {hosts, others, hosts, others},
}

// pages are those of the docs, by their names.
func pages(t *testing.T) map[string][]docBlock {
	t.Helper()
	names, err := filepath.Glob("../docs/*.md")
	check(t, err)
	out := map[string][]docBlock{}
	for _, path := range append(names, "../README.md") {
		data, err := os.ReadFile(path)
		check(t, err)
		name := strings.TrimPrefix(filepath.ToSlash(path), "../")
		if blocks := blocksOf(name, string(data)); len(blocks) > 0 {
			out[name] = blocks
		}
	}
	return out
}

// Each block of the docs is run, or has a reason why not; where a page has fewer reasons than blocks, its last one is that of the rest.
func TestBlocksOfTheDocsAreRunOrHaveAReason(t *testing.T) {
	all := pages(t)
	for name, blocks := range all {
		said := docBlocks[name]
		if len(said) == 0 || len(said) > len(blocks) || len(said) < len(blocks) && len(said) != 1 {
			t.Errorf("%s has %d blocks, and cli/docs_test.go says of %d what runs them or why nothing does", name, len(blocks), len(said))
		}
	}
	for name := range docBlocks {
		if len(all[name]) == 0 {
			t.Errorf("%s has no blocks any more; take it out of cli/docs_test.go", name)
		}
	}
}

// What the docs say of kiln's commands is what kiln has.
func TestCommandsOfTheDocsAreThoseOfKiln(t *testing.T) {
	checked := 0
	for _, blocks := range pages(t) {
		for _, b := range blocks {
			for _, words := range b.commands() {
				root := newRoot(ui.Env{})
				var names []string
				for _, w := range words {
					if strings.ContainsAny(w, "-[|…<>$") {
						break
					}
					names = append(names, w)
				}
				cmd, rest, err := root.Find(names)
				if err != nil || cmd == root || !cmd.Runnable() && len(rest) > 0 {
					t.Errorf("%s:%d: there is no command kiln %s", b.file, b.line, strings.Join(words, " "))
					continue
				}
				for _, w := range words {
					flag, _, _ := strings.Cut(strings.Trim(w, "[]"), "=")
					if long, ok := strings.CutPrefix(flag, "--"); ok && long != "" && !knows(cmd, long) {
						t.Errorf("%s:%d: kiln %s has no flag %s", b.file, b.line, strings.Join(names, " "), flag)
					}
				}
				checked++
			}
		}
	}
	if checked < 40 {
		t.Errorf("only %d commands were found", checked)
	}
}

func knows(cmd *cobra.Command, flag string) bool {
	cmd.InitDefaultHelpFlag()
	return cmd.Flags().Lookup(flag) != nil || cmd.InheritedFlags().Lookup(flag) != nil
}

// TestTheRoomOfTheDocs applies the description of docs/edge.md as it is written, and runs what stands behind it.
func TestTheRoomOfTheDocs(t *testing.T) {
	blocks := pages(t)["docs/edge.md"]
	eachRoom(t, func(t *testing.T, w *world) {
		w.build("--format", "kernel+initrd", "hello.yml").ok(t)
		w.write("room/room.yml", blocks[0].text)
		w.write("room/web.tmpl", "#cloud-config\nhostname: {{ yaml .Machine.Name }}\nruncmd: [{{ json .Values.greeting }}]\npassword: {{ yaml .Secrets.password }}\n")
		w.write("room/web-1.secret", "hunter2\n")
		w.write("room/vmlinuz", "kernel")
		w.write("room/flatcar.cpio.gz", "initrd")
		ran := 0
		for _, words := range blocks[1].commands() {
			if words[0] == "boots" {
				words = words[:1] // and not for ever
			}
			w.run(words...).ok(t)
			ran++
		}
		if ran < 12 {
			t.Errorf("only %d commands were run", ran)
		}
	})
}

// TestTheSubnetsOfTheDocs has a farm take the subnets of docs/dhcp.md as they are written.
func TestTheSubnetsOfTheDocs(t *testing.T) {
	blocks := pages(t)["docs/dhcp.md"] // before the test has a directory of its own
	w := atFarm(t)
	w.write("room/subnets.yml", blocks[0].text+blocks[2].text)
	for _, words := range blocks[1].commands() {
		w.run(words...).ok(t)
	}
	if got := w.run("subnet", "ls").ok(t).stdout; !strings.Contains(got, "rack-a ") || !strings.Contains(got, "rack-a-v6 ") {
		t.Errorf("there is\n%s", got)
	}
}

// docs/edge.md lists all that templates may say.
func TestTheDocsListWhatTemplatesMaySay(t *testing.T) {
	page, err := os.ReadFile("../docs/edge.md")
	check(t, err)
	var want []string
	for _, v := range []any{templates.Data{}, templates.Machine{}} {
		for i := range reflect.TypeOf(v).NumField() {
			if f := reflect.TypeOf(v).Field(i); f.IsExported() {
				want = append(want, "."+f.Name)
			}
		}
	}
	for _, f := range templates.Functions() {
		want = append(want, "`"+f)
	}
	for _, value := range []string{config.ValueInstanceType, config.ValueAvailabilityZone, config.ValueRegion, config.ValuePublicIPv4} {
		want = append(want, "`"+value+"`")
	}
	for _, w := range append(want, ".Secrets", "`priority`") {
		if !strings.Contains(string(page), w) {
			t.Errorf("docs/edge.md does not say %s", w)
		}
	}
}
