package cli

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kiln-farm/kiln/cli/ui"
)

// kiln is the whole command in an environment.
func kilnIn(vars map[string]string) (*cobra.Command, ui.Env) {
	env := ui.Env{Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard, Getenv: func(name string) string { return vars[name] }}
	return newRoot(env), env
}

// eachVerb calls f for every command that does something.
func eachVerb(cmd *cobra.Command, f func(*cobra.Command)) {
	if !cmd.HasSubCommands() || cmd.Flags().HasFlags() {
		f(cmd)
	}
	for _, below := range cmd.Commands() {
		eachVerb(below, f)
	}
}

var variableRow = regexp.MustCompile("(?m)^\\| `(KILN_[A-Z_]+)` \\| `--([a-z-]+)` \\|")

func TestTheTableOfVariablesIsWhatTheCommandTakes(t *testing.T) {
	text := read(t, filepath.Join(testdata, "../../docs/environment.md"))
	var told, taken []string
	for _, row := range variableRow.FindAllStringSubmatch(text, -1) {
		told = append(told, row[1]+" "+row[2])
	}
	for _, v := range variables {
		taken = append(taken, v.name+" "+v.flag)
		if want := "KILN_" + strings.ToUpper(strings.ReplaceAll(v.flag, "-", "_")); v.name != want {
			t.Errorf("the variable of --%s is %s, want %s", v.flag, v.name, want)
		}
	}
	slices.Sort(told)
	slices.Sort(taken)
	if !slices.Equal(told, taken) {
		t.Errorf("docs/environment.md has\n%s\nand the command takes\n%s", strings.Join(told, "\n"), strings.Join(taken, "\n"))
	}
}

// TestOtherVariablesAreInTheDocs finds what the code asks of its environment.
func TestOtherVariablesAreInTheDocs(t *testing.T) {
	text := read(t, filepath.Join(testdata, "../../docs/environment.md"))
	asks := regexp.MustCompile(`[gG]etenv\("([A-Z_]+)"\)`)
	asked := 0
	for _, pattern := range []string{"../*.go", "../*/*.go", "../*/*/*.go"} {
		names, err := filepath.Glob(filepath.Join(testdata, pattern))
		check(t, err)
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			for _, m := range asks.FindAllStringSubmatch(string(must(os.ReadFile(name))), -1) {
				asked++
				if !strings.Contains(text, m[1]) && m[1] != "USER" && m[1] != "KILN_CLOCK_OFFSET" { // which names people, and is for tests
					t.Errorf("%s asks for %s, which docs/environment.md does not tell", filepath.Base(name), m[1])
				}
			}
		}
	}
	if asked == 0 {
		t.Error("no variable was found")
	}
}

func TestFlagsTakeTheirVariables(t *testing.T) {
	const given, fromFlag = "of the variable", "of the flag"
	for _, v := range variables {
		commands := 0
		root, _ := kilnIn(nil)
		eachVerb(root, func(cmd *cobra.Command) {
			if v.of(cmd) == nil {
				return
			}
			commands++
			path := strings.Fields(cmd.CommandPath())[1:]
			value := func(variableSays string, args ...string) string {
				root, env := kilnIn(map[string]string{v.name: variableSays})
				cmd, _, err := root.Find(path)
				check(t, err)
				check(t, cmd.ParseFlags(args))
				check(t, takeVariables(env, cmd))
				return cmd.Flag(v.flag).Value.String()
			}
			unset := cmd.Flag(v.flag).DefValue
			for _, c := range []struct {
				name, got, want string
			}{
				{"the variable", value(given), given},
				{"both", value(given, "--"+v.flag, fromFlag), fromFlag},
				{"the variable and an empty flag", value(given, "--"+v.flag+"="), ""},
				{"an empty variable", value(""), unset},
				{"the flag", value("", "--"+v.flag, fromFlag), fromFlag},
			} {
				if c.got != c.want {
					t.Errorf("%s --%s with %s: got %q, want %q", cmd.CommandPath(), v.flag, c.name, c.got, c.want)
				}
			}
			if !strings.Contains(cmd.Flag(v.flag).Usage, v.name) {
				t.Errorf("the help of %s --%s does not name %s", cmd.CommandPath(), v.flag, v.name)
			}
		})
		if commands == 0 {
			t.Errorf("no command has --%s", v.flag)
		}
		for _, path := range v.not {
			if cmd, _, err := root.Find(strings.Fields(path)); err != nil || cmd.Flag(v.flag) == nil {
				t.Errorf("kiln %s has no flag --%s that would have to be left out", path, v.flag)
			}
		}
	}
}

// TestFlagsOfManyCommandsHaveVariables: what many commands are told outlives each of them.
func TestFlagsOfManyCommandsHaveVariables(t *testing.T) {
	const many = 7
	counts := map[string]int{}
	root, _ := kilnIn(nil)
	eachVerb(root, func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Value.Type() != "bool" && f.Name != "data" { // which belongs to one process
				counts[f.Name]++
			}
		})
	})
	for name, count := range counts {
		if count >= many && !slices.ContainsFunc(variables, func(v variable) bool { return v.flag == name }) {
			t.Errorf("--%s of %d commands has no variable", name, count)
		}
	}
	if counts["farm"] < many {
		t.Errorf("--farm is a flag of %d commands", counts["farm"])
	}
}

func TestATokenOfAFlagMakesThatOfAVariableNeedless(t *testing.T) {
	for _, c := range []struct {
		name        string
		vars        map[string]string
		args        []string
		token, file string
	}{
		{"a file of a flag", map[string]string{"KILN_TOKEN": "v"}, []string{"--token-file", "f"}, "", "f"},
		{"a token of a flag", map[string]string{"KILN_TOKEN_FILE": "v"}, []string{"--token", "t"}, "t", ""},
		{"two variables", map[string]string{"KILN_TOKEN": "t", "KILN_TOKEN_FILE": "f"}, nil, "t", ""},
		{"a file of a variable", map[string]string{"KILN_TOKEN_FILE": "f"}, nil, "", "f"},
	} {
		root, env := kilnIn(c.vars)
		cmd, _, err := root.Find([]string{"builder"})
		check(t, err)
		check(t, cmd.ParseFlags(c.args))
		check(t, takeVariables(env, cmd))
		if token, file := cmd.Flag("token").Value.String(), cmd.Flag("token-file").Value.String(); token != c.token || file != c.file {
			t.Errorf("%s: got token %q and file %q, want %q and %q", c.name, token, file, c.token, c.file)
		}
	}
}

func TestABuildKeepsItsCacheWhereTheVariableSays(t *testing.T) {
	w := newWorld(t)
	w.vars["KILN_CACHE"] = filepath.Join(w.dir, "mine")
	w.build("--format", "tar", "hello.yml").ok(t)
	if _, err := os.Stat("mine/blobs"); err != nil {
		t.Errorf("there is no cache: %v", err)
	}
	if _, err := os.Stat(".cache"); err == nil {
		t.Error("there is another cache")
	}
	w.run("explain", "last").ok(t)
	w.vars["KILN_STORE"] = "s3://other?endpoint=http://127.0.0.1:1"
	w.run("cache", "ls").ok(t)
}
