// Package enginecall runs the engine's binary, which has the policies, for commands of
// pectl.
package enginecall

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"

	"github.com/spf13/cobra"

	"policyengine.dev/runtime/commandline"
)

// Flag adds the required flag --engine, and returns its value.
func Flag(c *cobra.Command) *string {
	engine := c.Flags().String("engine", "", "the engine's `binary` (required)")
	_ = c.MarkFlagRequired("engine")
	return engine
}

// Run runs the engine with the command's output as its own. An exit code other than 0 is
// the error [commandline.Exit]: the engine has reported the reason.
func Run(c *cobra.Command, engine string, args ...string) error {
	code, err := call(c, engine, args, c.OutOrStdout())
	if err == nil && code > 0 {
		err = commandline.Exit(code)
	}
	return err
}

// Output runs the engine, and returns what it wrote to its output and its exit code. What
// it wrote to its error output goes to the command's.
func Output(c *cobra.Command, engine string, args ...string) (out []byte, code int, err error) {
	var b bytes.Buffer
	code, err = call(c, engine, args, &b)
	return b.Bytes(), code, err
}

func call(c *cobra.Command, engine string, args []string, out io.Writer) (code int, err error) {
	command := exec.CommandContext(c.Context(), engine, args...)
	command.Stdout, command.Stderr = out, c.ErrOrStderr()
	err = command.Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.ExitCode() > 0 {
		return ended.ExitCode(), nil
	}
	if err != nil {
		return 0, fmt.Errorf("running the engine: %w", err)
	}
	return 0, nil
}
