package ui

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/internal/nearest"
)

// UnknownVerb refuses "kiln buld".
func UnknownVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if near := nearVerb(cmd, args[0]); near != "" {
		return Usagef("there is no command %q; did you mean %q?", cmd.CommandPath()+" "+args[0], cmd.CommandPath()+" "+near)
	}
	return Usagef("there is no command %q; %s --help lists them", cmd.CommandPath()+" "+args[0], cmd.CommandPath())
}

// nearVerb is the command below cmd that was likely meant: one that is nearly called so, or the only one that begins so.
func nearVerb(cmd *cobra.Command, word string) string {
	var names, begin []string
	for _, c := range cmd.Commands() {
		if !c.IsAvailableCommand() {
			continue
		}
		names = append(names, c.Name())
		if strings.HasPrefix(c.Name(), word) {
			begin = append(begin, c.Name())
		}
	}
	if near := nearest.To(word, names); near != "" || len(begin) != 1 {
		return near
	}
	return begin[0]
}

// Group makes a command that only has commands below it.
func Group(use, short string, below ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: UnknownVerb,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(below...)
	return cmd
}

// Between is cobra's check of the number of arguments, with a sentence.
func Between(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least {
			return Usagef("%s needs %s; see %s --help", cmd.CommandPath(), what, cmd.CommandPath())
		}
		if most >= 0 && len(args) > most {
			return Usagef("%s takes %s and nothing else: %q is too much", cmd.CommandPath(), what, args[most])
		}
		return nil
	}
}

func FlagError(cmd *cobra.Command, err error) error {
	var said *UsageError // by the flag itself
	if errors.As(err, &said) {
		return said
	}
	text := err.Error()
	if strings.HasPrefix(text, "unknown") {
		return Usagef("%s; %s --help lists the flags", text, cmd.CommandPath())
	}
	return Usagef("%s; see %s --help", text, cmd.CommandPath())
}
