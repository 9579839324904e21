package templates

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

func machine() Data {
	return Data{
		Machine: Machine{Name: "web-1", Hostname: "web-1.example", MAC: "52:54:00:12:34:56", MACs: []string{"52:54:00:12:34:56", "52:54:00:12:34:57"},
			Labels: map[string]string{"role": "web", "rack": "a"}, Address: "10.0.0.5", DNS: []string{"10.0.0.1"}, SSHKeys: []string{"ssh-ed25519 AAAA me"}},
		Values: map[string]string{"port": "8080", "evil": "{{.Secrets.password}}\n- x: \"y\"", "empty": ""},
		Groups: []string{"web", "all"}, Release: "v1",
	}
}

func TestTemplatesSayWhatTheyHold(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a field", "{{.Machine.Hostname}}", "web-1.example"},
		{"a value", "port={{.Values.port}}", "port=8080"},
		{"a value with braces is data", "{{.Values.evil}}", "{{.Secrets.password}}\n- x: \"y\""},
		{"a value in YAML quotes", "{{yaml .Values.evil}}", `"{{.Secrets.password}}\n- x: \"y\""`},
		{"labels in their order", "{{range $k, $v := .Machine.Labels}}{{$k}}={{$v}};{{end}}", "rack=a;role=web;"},
		{"a list as JSON", "{{json .Machine.MACs}}", `["52:54:00:12:34:56","52:54:00:12:34:57"]`},
		{"labels as YAML", "{{yaml .Machine.Labels}}", `{"rack":"a","role":"web"}`},
		{"angle brackets stay readable", `{{json "<a&b>"}}`, `"<a&b>"`},
		{"indented text", "x: |\n  {{indent 2 .Values.evil}}", "x: |\n  {{.Secrets.password}}\n  - x: \"y\""},
		{"base64", `{{b64 "hi"}}`, "aGk="},
		{"a digest", `{{sha256 ""}}`, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{"a default for what is empty", `{{default "x" .Values.empty}}`, "x"},
		{"a default for what is not there", `{{index .Values "none" | default "x"}}`, "x"},
		{"a default that is not needed", `{{.Values.port | default "x"}}`, "8080"},
		{"joined", `{{join ", " .Machine.MACs}}`, "52:54:00:12:34:56, 52:54:00:12:34:57"},
		{"printf", `{{printf "%s:%5d|%-4s|%q%%" .Machine.Name 42 "x" "y"}}`, `web-1:   42|x   |"y"%`},
		{"a query", `{{urlquery "a b&c"}}`, "a+b%26c"},
		{"a template that is defined", `{{define "x"}}[{{.}}]{{end}}{{template "x" .Machine.Name}}`, "[web-1]"},
		{"range over a number", `{{range 3}}x{{end}}`, "xxx"},
		{"break and else", `{{range .Machine.MACs}}{{.}}{{break}}{{else}}none{{end}}`, "52:54:00:12:34:56"},
		{"groups", `{{range .Groups}}{{.}} {{end}}{{.Release}}`, "web all v1"},
		{"nothing", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			parsed, err := Compile(c.text)
			if err != nil {
				t.Fatal(err)
			}
			got, err := parsed.Execute(machine())
			if err != nil || got.Text != c.want || got.Secrets {
				t.Errorf("got %q %v %v, want %q", got.Text, got.Secrets, err, c.want)
			}
		})
	}
}

func TestTemplatesThatDoNotCompileGetASentence(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"an action that is not closed", "a\n{{.Values.x", "line 2: unclosed action"},
		{"a function that is not there", "{{readFile \"/etc/passwd\"}}", `line 1: function "readFile" not defined`},
		{"a function that is withheld", "{{html .Values.x}}", "the function html is not there; use json or yaml to quote a value"},
		{"a withheld function in parentheses", "{{if (print 1)}}{{end}}", "the function print is not there; write the values one after the other, or use printf"},
		{"Kiln's own function", "{{countSteps 0}}", "the function countSteps is not there; it is Kiln's own"},
		{"a template that is not defined", `{{template "x"}}`, `it calls the template "x", which it does not define; add {{define "x"}}…{{end}}`},
		{"a template that calls itself", `{{define "a"}}{{template "b"}}{{end}}{{define "b"}}{{template "a"}}{{end}}{{template "a"}}`, `calls itself; write a loop with range`},
		{"the whole calling itself", `{{template "t"}}`, `the template "t" calls itself; write a loop with range`},
		{"a template that is too large", strings.Repeat("x", MaxText+1), "it has 262145 bytes, more than 262144; put large files into the image"},
		{"a NUL", "a\x00b", "it holds a NUL; write it in base64 and say so where it is read"},
		{"parentheses without end", "{{" + strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000) + "}}", "its blocks and parentheses are nested more than 200 deep; write it flatter"},
		{"blocks without end", strings.Repeat("{{if 1}}", 5000) + strings.Repeat("{{end}}", 5000), "its blocks and parentheses are nested more than 200 deep; write it flatter"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Compile(c.text)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestTemplatesThatFailGetASentence(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a value that is not there", "a\n{{.Values.nmae}}", `line 2: at <.Values.nmae>: map has no entry for key "nmae"; give the machine or its group that value, or write default "…" (index .Values "…")`},
		{"a field that is not there", "{{.Machine.Nmae}}", `line 1: .Machine.Nmae: there is no field Nmae; did you mean Name?`},
		{"a field that is written otherwise", "a\n\n{{.Machine.Mac}}", `line 3: .Machine.Mac: there is no field Mac; did you mean MAC?`},
		{"a field that is near none", "{{.Machine.Serial}}", "there is no field Serial; there are Address, DNS, "},
		{"a field of the whole", "{{.Hostname}}", "there is no field Hostname; there are Groups, Machine, Release, Secrets, Values"},
		{"a field of a loop's text", "{{range .Groups}}{{.Name}}{{end}}", "there is no Name in it, since it is no machine but a text"},
		{"a value that is misspelt", "{{.Values.prot}}", `did you mean port? Otherwise give the machine or its group that value`},
		{"a label that is misspelt", "{{.Machine.Labels.rol}}", `did you mean role? Otherwise give the machine that label`},
		{"a loop over a number", "{{range 100000000000}}{{end}}", "line 1: " + errTooMuch.Error()},
		{"a loop in a loop", "{{range 100000}}{{range 100000}}{{end}}{{end}}", errTooMuch.Error()},
		{"templates that double", doubling(40), errTooMuch.Error()},
		{"text that doubles", `{{$x := "xxxxxxxx"}}` + strings.Repeat(`{{$x = printf "%s%s" $x $x}}`, 40), errTooMuch.Error()},
		{"output without end", `{{range 1000}}` + strings.Repeat("x", 2000) + `{{end}}`, errOutput.Error()},
		{"a width", `{{printf "%1000000d" 1}}`, "wider than 999"},
		{"a width in the arguments", `{{printf "%*d" 1000000 1}}`, "printf does not know"},
		{"an index of arguments", `{{printf "%[1]s" "x"}}`, "printf does not know"},
		{"a verb that is not there", `{{printf "%T" 1}}`, "printf does not know %T"},
		{"too few values", `{{printf "%s"}}`, "printf has no value for %s; give it as many values as verbs"},
		{"too many values", `{{printf "x" 1}}`, "printf has more values than verbs; leave some out"},
		{"a format that ends in a verb", `{{printf "%"}}`, "printf's format ends within a verb"},
		{"an indent without end", `{{indent 1000000 "a\nb"}}`, "indent 1000000 is not between 0 and 100"},
		{"secrets that are not allowed", "{{.Secrets.password}}", "line 1: " + ErrSecrets.Error()},
		{"secrets that are asked for", "{{if .Secrets}}{{end}}", ErrSecrets.Error()},
		{"secrets by index", `{{index .Secrets "password"}}`, ErrSecrets.Error()},
		{"secrets behind a variable", `{{range 1}}{{with $}}{{.Secrets.password}}{{end}}{{end}}`, ErrSecrets.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			parsed, err := Compile(c.text)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			got, err := parsed.Execute(machine())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q %v, want %q", got.Text, err, c.want)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// doubling defines n templates each of which calls the next one twice.
func doubling(n int) string {
	var b strings.Builder
	for i := range n {
		c := string(rune('a'+i/26)) + string(rune('a'+i%26))
		d := string(rune('a'+(i+1)/26)) + string(rune('a'+(i+1)%26))
		b.WriteString(`{{define "` + c + `"}}{{template "` + d + `"}}{{template "` + d + `"}}{{end}}`)
	}
	last := string(rune('a'+n/26)) + string(rune('a'+n%26))
	return b.String() + `{{define "` + last + `"}}{{end}}{{template "aa"}}`
}

func TestSecretsAreGivenWhenAllowedAndSaidToBeUsed(t *testing.T) {
	data := machine().WithSecrets(map[string]string{"password": "geheim"})
	for _, c := range []struct {
		name, text, want string
		used             bool
	}{
		{"a secret", "{{.Secrets.password}}", "geheim", true},
		{"a secret that is only looked at", "{{if .Secrets.password}}yes{{end}}", "yes", true},
		{"none", "{{.Machine.Name}}", "web-1", false},
		{"all data", "{{json .}}", "", false},
	} {
		parsed, err := Compile(c.text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parsed.Execute(data)
		if err != nil || got.Secrets != c.used || c.want != "" && got.Text != c.want || !c.used && strings.Contains(got.Text, "geheim") {
			t.Errorf("%s: got %q %v %v, want %q %v", c.name, got.Text, got.Secrets, err, c.want, c.used)
		}
	}
}

func TestAFailureAfterSecretsDoesNotShowThem(t *testing.T) {
	parsed, err := Compile("{{$p := .Secrets.password}}\n{{slice .Values.port 0 (len $p)}}{{index .Values.port 99}}")
	if err != nil {
		t.Fatal(err)
	}
	got, err := parsed.Execute(machine().WithSecrets(map[string]string{"password": "abcdef"}))
	if err == nil || !got.Secrets || !strings.Contains(err.Error(), "line 2: it failed after it used secrets") || strings.Contains(err.Error(), "6") {
		t.Errorf("got %+v %v", got, err)
	}
}

func TestATemplateEndsWhenItsTimeIsOver(t *testing.T) {
	parsed, err := Compile("{{range 10}}x{{end}}")
	if err != nil {
		t.Fatal(err)
	}
	now, calls := time.Unix(0, 0), 0
	_, err = parsed.execute(machine(), func() time.Time {
		calls++
		return now.Add(time.Duration(calls) * time.Second / 2)
	})
	if !errors.Is(err, errTooMuch) || calls > 7 {
		t.Errorf("got %v after %d calls", err, calls)
	}
}

func TestQuotedTextIsReadBackByJSONAndYAML(t *testing.T) {
	all := []string{"", "plain", "a: b", "- x", "# no comment", "true", "0644", "~", "é ü 漢 🙂", "\"'\\", "\x7f\u0080\u009f\u0085\u2028\ufeff\ufffe",
		"line\nline\r\n\ttab", "{{x}}", "\u0000\u0001", "&a *b !c", "<script>", "\ufffd"}
	for _, text := range all {
		parsed, err := Compile("{{yaml .Values.x}}")
		if err != nil {
			t.Fatal(err)
		}
		got, err := parsed.Execute(Data{Values: map[string]string{"x": text}})
		if err != nil {
			t.Fatal(err)
		}
		var fromJSON, fromYAML string
		if err := json.Unmarshal([]byte(got.Text), &fromJSON); err != nil || fromJSON != text {
			t.Errorf("JSON reads %q of %s, want %q (%v)", fromJSON, got.Text, text, err)
		}
		if err := yaml.Unmarshal([]byte(got.Text), &fromYAML); err != nil || fromYAML != text {
			t.Errorf("YAML reads %q of %s, want %q (%v)", fromYAML, got.Text, text, err)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	for _, text := range []string{"{{.Machine.Name}}", "{{range .Groups}}{{printf \"%q\" .}}{{end}}", "{{define \"a\"}}x{{end}}{{template \"a\"}}", "{{.Secrets.password}}",
		"{{range 1000000}}{{end}}", "{{with $x := .Values}}{{json $x}}{{end}}", "{{block \"b\" .}}{{end}}", "{{- 1 -}}{{/* c */}}"} {
		f.Add(text, "value")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		parsed, err := Compile(text)
		if err != nil {
			return
		}
		data := machine()
		data.Values = map[string]string{"port": value}
		got, err := parsed.Execute(data)
		if len(got.Text) > MaxOutput {
			t.Errorf("%d bytes", len(got.Text))
		}
		again, err2 := parsed.Execute(data)
		if (err == nil) != (err2 == nil) || again != got {
			t.Errorf("%q gives %q %v, then %q %v", text, got.Text, err, again.Text, err2)
		}
		if plain, err3 := parsed.Execute(data.WithSecrets(map[string]string{"password": "sEcReT"})); err3 == nil && !plain.Secrets && strings.Contains(plain.Text, "sEcReT") {
			t.Errorf("%q shows a secret and does not say so", text)
		}
	})
}
