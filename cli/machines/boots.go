package machines

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/internal/printable"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// bootsFlags say how events are told.
type bootsFlags struct{ follow, json bool }

func (f *bootsFlags) add(flags *pflag.FlagSet) {
	flags.BoolVarP(&f.follow, "follow", "f", false, "go on as it happens")
	flags.BoolVar(&f.json, "json", false, "print each event as JSON on a line of its own")
}

func NewBoots(env ui.Env) *cobra.Command {
	var f bootsFlags
	cmd := roomCommand(env, "boots", "Watch machines boot", "  kiln boots -f", ui.Between(0, 0, "no argument"), func(ctx context.Context, room rooms, _ []string) error {
		return room.Boots(ctx, "", f.follow, bootPrinter(env, f.json))
	})
	f.add(cmd.Flags())
	return cmd
}

func newBootsOf(env ui.Env) *cobra.Command {
	var f bootsFlags
	cmd := roomCommand(env, "boots MACHINE", "Show a machine's recent boots", "  kiln machine boots web-1", ui.Between(1, 1, "the name of a machine"),
		func(ctx context.Context, room rooms, args []string) error {
			return room.Boots(ctx, args[0], f.follow, bootPrinter(env, f.json))
		})
	f.add(cmd.Flags())
	return cmd
}

// bootPrinter prints events, one on a line.
func bootPrinter(env ui.Env, json bool) func(*kilnv1.BootEvent) error {
	return func(e *kilnv1.BootEvent) error {
		if json {
			return printProto(env.Stdout, e, "")
		}
		name := e.GetMachine()
		if name == "" {
			name = e.GetMac()
		}
		_, err := fmt.Fprintf(env.Stdout, "%s  %-16s %-7s %s\n", time.UnixMilli(e.GetUnixMs()).Format("2006-01-02 15:04:05.000"), printable.Line(name), stageName(e.GetStage()), printable.Line(e.GetDetail()))
		return err
	}
}

// printProto prints a message as JSON, on one line when there is no indent. Protobuf's own JSON has blanks that differ from
// one program to the next.
func printProto(w io.Writer, m proto.Message, indent string) error {
	text, err := protojson.Marshal(m)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if indent == "" {
		err = json.Compact(&out, text)
	} else {
		err = json.Indent(&out, text, "", indent)
	}
	if err != nil {
		return err
	}
	out.WriteByte('\n')
	_, err = out.WriteTo(w)
	return err
}

func stageName(s kilnv1.BootStage) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "BOOT_STAGE_"))
}
