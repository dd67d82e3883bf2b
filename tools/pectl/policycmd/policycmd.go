// Package policycmd is `pectl policy`: what an author of policies needs beside an
// editor and `go test`.
package policycmd

import (
	"policyengine.dev/tools/pectl/command"
)

// Command returns the group `policy`.
func Command() *command.Command {
	return &command.Command{
		Name:     "policy",
		Short:    "Makes policies and keeps the list of them.",
		Commands: []*command.Command{newCommand(), indexCommand()},
	}
}
