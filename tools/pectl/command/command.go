// Package command is the frame of a command line with subcommands: help, flags
// anywhere among the arguments, and errors that say what would be right.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"policyengine.dev/sdk/strictyaml"
)

// Exit codes of [Main].
const (
	ExitOK = 0
	// ExitFailed: the command could not do its work.
	ExitFailed = 1
	// ExitUsage: it was called wrongly.
	ExitUsage = 2
	// ExitFindings: it looked for what is wrong, and has found something.
	ExitFindings = 3
)

// ErrFindings ends a command with [ExitFindings], and says nothing more.
var ErrFindings = errors.New("something was found")

// Command is a command, or a group of commands. Run or Commands is set; where both
// are, an argument that is a member's name means that member.
// Flags that a command reads belong to one call: make it anew for each.
type Command struct {
	// Name is what is typed.
	Name string
	// Args are the arguments as the usage line shows them, such as "NAME".
	Args string
	// Short says in one line what the command does; Long is the rest of its
	// help, and may be empty.
	Short, Long string
	// Flags defines the command's flags; nil for none. A flag's usage begins
	// in lower case, has the argument in `backquotes`, and needs no default.
	Flags func(*flag.FlagSet)
	// Run does the work. An error made by [Usagef] is answered with the usage.
	Run func(ctx context.Context, io IO, args []string) error
	// Commands are the group's members, in the order of the help.
	Commands []*Command
}

// IO is where a command reads and writes.
type IO struct {
	In       io.Reader
	Out, Err io.Writer
}

// usageError is a call that cannot be understood.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Usagef returns an error about how the command was called.
func Usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// ExactArgs returns an error where args are not as many as names, in order.
func ExactArgs(args []string, names ...string) error {
	switch {
	case len(args) < len(names):
		return Usagef("%s is missing", names[len(args)])
	case len(args) > len(names):
		return Usagef("there is an argument too many: %q", args[len(names)])
	}
	return nil
}

// Main runs the command of root that args name, and returns the exit code. Help goes
// to io.Out where it was asked for, and otherwise, as errors do, to io.Err.
func Main(ctx context.Context, root *Command, args []string, io IO) int {
	path, c := []string{root.Name}, root
	for {
		if len(args) > 0 && c.find(args[0]) != nil {
			path, c, args = append(path, args[0]), c.find(args[0]), args[1:]
			continue
		}
		if c.Run != nil {
			return run(ctx, path, c, args, io)
		}
		if len(args) == 0 {
			help(io.Err, path, c)
			return ExitUsage
		}
		switch name := args[0]; name {
		case "help":
			// `pectl help policy new` is `pectl policy new --help`.
			args = append(append([]string{}, args[1:]...), "--help")
			continue
		case "-h", "-help", "--help":
			help(io.Out, path, c)
			return ExitOK
		default:
			fmt.Fprintf(io.Err, "%s: there is no command %q", strings.Join(path, " "), name)
			if remedy := strictyaml.Nearest(name, c.names()); remedy != "" {
				fmt.Fprintf(io.Err, "; %s", remedy)
			}
			fmt.Fprintln(io.Err)
			return ExitUsage
		}
	}
}

func run(ctx context.Context, path []string, c *Command, args []string, io IO) int {
	name := strings.Join(path, " ")
	positional, err := parse(c, args)
	if errors.Is(err, flag.ErrHelp) {
		help(io.Out, path, c)
		return ExitOK
	}
	if err == nil {
		err = c.Run(ctx, io, positional)
	}
	var wrongCall usageError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &wrongCall):
		fmt.Fprintf(io.Err, "%s: %v\nusage: %s\nSee: %s --help\n", name, err, usage(path, c), name)
		return ExitUsage
	case errors.Is(err, ErrFindings):
		return ExitFindings
	}
	fmt.Fprintf(io.Err, "%s: %v\n", name, err)
	return ExitFailed
}

// parse reads flags wherever they stand, up to "--".
func parse(c *Command, args []string) (positional []string, err error) {
	flags := c.flagSet()
	flags.SetOutput(io.Discard)
	for len(args) > 0 {
		before := args
		if err := flags.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, usageError{err}
		}
		args = flags.Args()
		if n := len(before) - len(args); n > 0 && before[n-1] == "--" {
			return append(positional, args...), nil
		}
		if len(args) > 0 {
			positional, args = append(positional, args[0]), args[1:]
		}
	}
	return positional, nil
}

func (c *Command) flagSet() *flag.FlagSet {
	flags := flag.NewFlagSet(c.Name, flag.ContinueOnError)
	if c.Flags != nil {
		c.Flags(flags)
	}
	return flags
}

func (c *Command) find(name string) *Command {
	for _, sub := range c.Commands {
		if sub.Name == name {
			return sub
		}
	}
	return nil
}

func (c *Command) names() (names []string) {
	for _, sub := range c.Commands {
		names = append(names, sub.Name)
	}
	return names
}

func usage(path []string, c *Command) string {
	s := strings.Join(path, " ")
	if c.Run == nil {
		return s + " COMMAND"
	}
	if c.Args != "" {
		s += " " + c.Args
	}
	var flags []string
	c.flagSet().VisitAll(func(f *flag.Flag) { flags = append(flags, " ["+flagForm(f)+"]") })
	if len(flags) > 6 {
		return s + " [FLAGS]"
	}
	return s + strings.Join(flags, "")
}

// flagForm is the flag with its argument.
func flagForm(f *flag.Flag) string {
	arg, _ := flag.UnquoteUsage(f)
	if arg == "" {
		return "--" + f.Name
	}
	return "--" + f.Name + " " + strings.ToUpper(arg)
}

func help(w io.Writer, path []string, c *Command) {
	fmt.Fprintf(w, "%s\n\nusage: %s\n", c.Short, usage(path, c))
	if c.Long != "" {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(c.Long))
	}
	if len(c.Commands) > 0 {
		fmt.Fprintf(w, "\ncommands:\n")
	}
	for _, sub := range c.Commands {
		fmt.Fprintf(w, "  %-14s %s\n", sub.Name, sub.Short)
	}
	first := true
	c.flagSet().VisitAll(func(f *flag.Flag) {
		if first {
			fmt.Fprintf(w, "\nflags:\n")
			first = false
		}
		_, text := flag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" {
			text += " (default " + f.DefValue + ")"
		}
		form := flagForm(f)
		if len(form) > 22 {
			form += "\n" + strings.Repeat(" ", 24)
		}
		fmt.Fprintf(w, "  %-22s %s\n", form, text)
	})
	if c.Run == nil {
		fmt.Fprintf(w, "\nSee: %s COMMAND --help\n", strings.Join(path, " "))
	}
}
