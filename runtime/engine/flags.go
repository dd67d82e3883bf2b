package engine

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// fromFlags translates a call without a command into one with a command: earlier versions
// had flags only, such as `policy-engine -config FILE -check`. Other calls are returned as
// they are.
//
// fromFlags reports wrong flags to stderr. Its error is [flag.ErrHelp] if the flags ask for
// help.
func fromFlags(args []string, stderr io.Writer) ([]string, error) {
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		return args, nil
	}
	var f flagsOnly
	set := f.set(stderr)
	err := set.Parse(args)
	if err == nil {
		err = f.validate(set.Args())
		if err != nil {
			fmt.Fprintln(stderr, err)
		}
	} else if !errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stderr, "Usage: policy-engine [flags]\n\n")
		set.PrintDefaults()
		fmt.Fprint(stderr, "\nThese flags are for calls without a command. See: policy-engine --help\n")
	}
	if err != nil {
		return nil, err
	}
	return f.command(), nil
}

// flagsOnly are the flags of a call without a command.
type flagsOnly struct {
	config             string
	check, dump, start bool
	policies, version  bool
}

func (f *flagsOnly) set(stderr io.Writer) *flag.FlagSet {
	set := flag.NewFlagSet("policy-engine", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.Usage = func() {}
	set.StringVar(&f.config, "config", DefaultConfig, "the engine's configuration `file`")
	set.BoolVar(&f.check, "check", false, "same as the command check")
	set.BoolVar(&f.start, "start", false, "with -check: same as check --start")
	set.BoolVar(&f.dump, "dump", false, "with -check: same as check --dump")
	set.BoolVar(&f.policies, "policies", false, "same as the command policies")
	set.BoolVar(&f.version, "version", false, "same as the command version")
	return set
}

func (f *flagsOnly) validate(rest []string) error {
	switch {
	case f.dump && !f.check:
		return errors.New("-dump goes with -check; a running engine shows its configuration on /config_dump")
	case f.start && !f.check:
		return errors.New("-start goes with -check; a running engine starts its policies anyway")
	case len(rest) > 0:
		return fmt.Errorf("unexpected arguments %q: policy-engine takes no arguments after flags", rest)
	}
	return nil
}

func (f *flagsOnly) command() []string {
	switch {
	case f.version:
		return []string{"version"}
	case f.policies:
		return []string{"policies"}
	case !f.check:
		return []string{"run", "--config", f.config}
	}
	args := []string{"check", "--config", f.config}
	if f.start {
		args = append(args, "--start")
	}
	if f.dump {
		args = append(args, "--dump")
	}
	return args
}
