// Package commandline runs a tree of cobra commands as a process: it maps errors to exit
// codes and reports them in one form. The engine's binary and pectl use it.
package commandline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Exit codes of [Main].
const (
	ExitOK = 0
	// ExitFailed: the command could not do its work.
	ExitFailed = 1
	// ExitUsage: the command was called with wrong arguments or flags.
	ExitUsage = 2
	// ExitFindings: a check found errors.
	ExitFindings = 3
)

// Exit is an error that ends the process with this code and prints nothing: the command
// has reported the reason already.
type Exit int

// Error implements error.
func (e Exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// ErrFindings ends the process with [ExitFindings]. The command has printed its findings.
const ErrFindings = Exit(ExitFindings)

// IO is where a command reads and writes. A nil In is an empty input.
type IO struct {
	In       io.Reader
	Out, Err io.Writer
}

// usageError is an error in how a command was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Usagef returns an error in how a command was called. It ends the process with
// [ExitUsage] and is printed with the command's usage line.
func Usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// Args accepts exactly one argument for each name. The error names the first argument that
// is missing, or the first one too many.
func Args(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return Usagef("%s is missing", names[len(args)])
		case len(args) > len(names):
			return Usagef("unexpected argument %q", args[len(names)])
		}
		return nil
	}
}

// ArgsOrMore accepts at least one argument for each name, and any number for the last. The
// error names the first argument that is missing.
func ArgsOrMore(names ...string) cobra.PositionalArgs {
	exact := Args(names...)
	return func(c *cobra.Command, args []string) error {
		return exact(c, args[:min(len(args), len(names))])
	}
}

// Main runs the command that args name and returns the exit code. Help that args ask for
// goes to streams.Out. Errors go to streams.Err, each with the name of the command.
//
// Main changes root, which is made for one call.
func Main(ctx context.Context, root *cobra.Command, args []string, streams IO) int {
	in := streams.In
	if in == nil {
		in = strings.NewReader("")
	}
	root.SetIn(in)
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(flagError)
	started := false
	noteStart(root, &started)
	if len(args) > 0 && args[0] == "help" {
		// `pectl help policy new` is `pectl policy new --help`.
		args = append(slices.Clone(args[1:]), "--help")
	}
	if c, err := group(root, args); err != nil {
		return report(streams.Err, c, err, started)
	}
	// Cobra reads the process's arguments in place of nil.
	root.SetArgs(append([]string{}, args...))
	c, err := root.ExecuteContextC(ctx)
	return report(streams.Err, c, err, started)
}

// errNoCommand says that args name a group and none of its commands.
var errNoCommand = errors.New("a command is missing")

// group returns an error where args name a group of commands and none of its commands.
// Cobra prints the help of such a group and reports success.
func group(root *cobra.Command, args []string) (*cobra.Command, error) {
	if len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		return root, nil
	}
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(args...)
	c, rest, _ := root.Find(args)
	switch {
	case c.Runnable():
		return c, nil
	case len(rest) == 0:
		return c, errNoCommand
	case strings.HasPrefix(rest[0], "-"):
		return c, nil
	}
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(rest[0]); len(near) > 0 {
		return c, Usagef("there is no command %q; did you mean %q?", rest[0], near[0])
	}
	return c, Usagef("there is no command %q", rest[0])
}

// noteStart has every command set started when it begins its work.
func noteStart(c *cobra.Command, started *bool) {
	if run := c.RunE; run != nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			*started = true
			return run(c, args)
		}
	}
	for _, sub := range c.Commands() {
		noteStart(sub, started)
	}
}

// flagError says what would be right where a long flag has one dash.
func flagError(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		name := unknown.GetSpecifiedName()
		if short := unknown.GetSpecifiedShortnames(); short != "" {
			name = short
		}
		if c.Flags().Lookup(name) != nil {
			return Usagef("unknown flag -%s; did you mean --%s?", name, name)
		}
	}
	return usageError{err}
}

// report prints err and returns the exit code that it stands for. An error from before the
// command began its work is about the arguments or flags.
func report(to io.Writer, c *cobra.Command, err error, started bool) int {
	var exit Exit
	var usage usageError
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, errNoCommand):
		c.SetOut(to)
		_ = c.Help()
		return ExitUsage
	case errors.As(err, &exit):
		return int(exit)
	case errors.As(err, &usage) || !started:
		call := c.UseLine()
		if !c.Runnable() {
			call = c.CommandPath() + " [command]"
		}
		fmt.Fprintf(to, "%s: %v\nUsage: %s\nSee: %s --help\n", c.CommandPath(), err, call, c.CommandPath())
		return ExitUsage
	}
	fmt.Fprintf(to, "%s: %v\n", c.CommandPath(), err)
	return ExitFailed
}
