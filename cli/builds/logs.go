package builds

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cli/access"
	"github.com/kiln-farm/kiln/cli/history"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/cli/ui/report"
	"github.com/kiln-farm/kiln/internal/printable"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func NewLogs(env ui.Env) *cobra.Command {
	var flags access.Flags
	var follow, bare bool
	var step string
	cmd := &cobra.Command{
		Use:   "logs [flags] BUILD",
		Short: "Print the logs of a build's steps",
		Long: `Print what the steps of a build said, each line after the label of its step. With -f also what they say from now on,
until the build has ended. Of a step that was a hit it is what it said when it ran. ` + history.Which,
		Example: `  kiln logs last
  kiln logs -f --farm https://kiln1:7300 hello
  kiln logs --step services/web --bare hello`,
		Args: ui.Between(1, 1, history.Arg),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, build, err := history.Find(cmd.Context(), env, &flags, args[0])
			if err != nil {
				return err
			}
			l := &logs{Builds: h, out: env.Stdout, build: build, shown: map[int]bool{}}
			l.format = report.Logs{Style: env.Style(), Step: step, Bare: bare}
			return l.print(cmd.Context(), env, follow && h.Farm != nil)
		},
	}
	flags.Add(cmd.Flags())
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the build has ended")
	cmd.Flags().StringVar(&step, "step", "", "only the step with this label, or those whose labels have it in them")
	cmd.Flags().BoolVar(&bare, "bare", false, "leave the labels out")
	return cmd
}

// logs prints what the steps of one build said: what is stored of those that ended, what comes of those that run.
type logs struct {
	*history.Builds
	build  *kilnv1.BuildRecord
	out    io.Writer
	format report.Logs

	labels []string     // of the nodes
	shown  map[int]bool // nodes of which something was printed
	fault  error        // of writing
}

func (l *logs) print(ctx context.Context, env ui.Env, follow bool) error {
	if err := l.stored(ctx); err != nil {
		return err
	}
	if follow && l.build.GetState() < kilnv1.BuildState_BUILD_STATE_DONE {
		if err := l.live(ctx); err != nil {
			return err
		}
	}
	if l.fault == nil && len(l.shown) == 0 {
		fmt.Fprintln(env.Stderr, "no step said anything")
	}
	if text := l.build.GetError(); text != "" && l.fault == nil {
		fmt.Fprintf(env.Stderr, "the build ended as %s: %s\n", report.State(l.build.GetState()), printable.Line(text))
	}
	return l.fault
}

// stored prints the logs in the cache of steps of which nothing was printed yet.
func (l *logs) stored(ctx context.Context) error {
	l.labels = nil
	for _, n := range l.build.GetNodes() {
		l.labels = append(l.labels, n.GetLabel())
	}
	for i, n := range l.build.GetNodes() {
		if n.GetLog() == "" || l.shown[i] || !l.format.Wants(n.GetLabel(), l.labels) {
			continue
		}
		d, err := cache.ParseDigest(n.GetLog())
		if err != nil {
			return fmt.Errorf("log of %s: %w", n.GetLabel(), err)
		}
		l.shown[i] = true
		w := &lineWriter{line: func(text string) { l.line(i, text) }}
		err = l.Blobs.WriteBlob(ctx, d, w)
		w.end()
		if history.Missing(err) {
			l.write(l.format.Note(n.GetLabel(), "the cache has dropped what it said"))
			continue
		}
		if err != nil {
			return fmt.Errorf("log of %s: %w", n.GetLabel(), err)
		}
	}
	return l.fault
}

// live prints what steps say until the build has ended, and then what got lost on the way.
func (l *logs) live(ctx context.Context) error {
	before := map[int]bool{} // printed whole already
	for i := range l.shown {
		before[i] = true
	}
	_, err := l.Farm.Follow(ctx, l.build.GetSpec().GetId(), func(e *kilnv1.BuildEvent) {
		switch {
		case e.GetGraph() != nil:
			l.labels = e.GetGraph().GetLabels()
		case e.GetLog() != nil && !before[int(e.GetLog().GetNode())]:
			for _, text := range e.GetLog().GetLines() {
				l.line(int(e.GetLog().GetNode()), text)
			}
		case e.GetNode().GetState() == kilnv1.NodeState_NODE_STATE_RETRY && l.wants(int(e.GetNode().GetNode())):
			l.write(l.format.Note(l.label(int(e.GetNode().GetNode())), "runs again: "+e.GetNode().GetError()))
		}
	})
	if ctx.Err() != nil {
		return nil // whoever looked on has seen enough
	}
	if err != nil {
		return err
	}
	spec := l.build.GetSpec()
	build, err := l.Get(ctx, spec.GetTeam(), spec.GetId())
	if err != nil {
		return err
	}
	l.build = build
	return l.stored(ctx)
}

func (l *logs) label(node int) string {
	if node >= 0 && node < len(l.labels) {
		return l.labels[node]
	}
	return fmt.Sprintf("step %d", node+1)
}

func (l *logs) wants(node int) bool { return l.format.Wants(l.label(node), l.labels) }

func (l *logs) line(node int, text string) {
	if l.wants(node) {
		l.shown[node] = true
		l.write(l.format.Line(l.label(node), text))
	}
}

func (l *logs) write(line string) {
	if l.fault == nil {
		_, l.fault = io.WriteString(l.out, line+"\n")
	}
}

// lineWriter cuts a stream into lines.
type lineWriter struct {
	line func(string)
	rest []byte
}

// Write implements io.Writer.
func (w *lineWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		n, text, err := bufio.ScanLines(w.rest, false)
		if n == 0 || err != nil {
			return len(p), nil
		}
		w.line(string(text))
		w.rest = w.rest[n:]
	}
}

func (w *lineWriter) end() {
	if len(w.rest) > 0 {
		w.line(string(w.rest))
	}
}
