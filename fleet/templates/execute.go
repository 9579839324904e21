package templates

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Output is what a template wrote.
type Output struct {
	Text    string
	Secrets bool // it used secrets, whatever of them it wrote
}

// Execute fills the template. Its errors are of type *Error.
func (t *Template) Execute(data Data) (Output, error) { return t.execute(data, time.Now) }

func (t *Template) execute(data Data, now func() time.Time) (Output, error) {
	if data.secrets != nil { // its own mark, so that one Data may fill many templates
		mine := *data.secrets
		mine.used = false
		data.secrets = &mine
	}
	set, err := t.parsed.Clone()
	if err != nil {
		return Output{}, sentence(err, nil)
	}
	var out limited
	err = set.Funcs(newBudget(now).functions()).Execute(&out, data)
	used := data.secrets != nil && data.secrets.used
	if err == nil {
		return Output{Text: out.text.String(), Secrets: used}, nil
	}
	problem := sentence(err, &data)
	if errors.Is(err, errOutput) {
		problem.Text = errOutput.Error()
	}
	if used && !errors.Is(err, errOutput) && !errors.Is(err, errTooMuch) && !missing.MatchString(err.Error()) && !noField.MatchString(err.Error()) {
		// What text/template says may show a part of a value.
		problem.Text, problem.err = "it failed after it used secrets, so that the reason is not shown; fill it with other values to see it", nil
	}
	return Output{Secrets: used}, problem
}

var errOutput = fmt.Errorf("the template writes more than %d bytes; put large files into the image", MaxOutput)

// limited takes what a template may write and no more.
type limited struct{ text strings.Builder }

func (l *limited) Write(p []byte) (int, error) {
	if l.text.Len()+len(p) > MaxOutput {
		return 0, errOutput
	}
	return l.text.Write(p)
}

var _ io.Writer = (*limited)(nil)
