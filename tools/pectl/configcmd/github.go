package configcmd

import (
	"fmt"
	"io"
	"strings"

	"policyengine.dev/runtime/admin"
)

// The characters that end a part of a workflow command are written as %25 and so on.
var (
	githubText     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	githubProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// writeGitHub writes a workflow command of GitHub's for each problem and warning, such as
// ::error file=chains.yaml,line=3,col=5::the text.
func writeGitHub(w io.Writer, r admin.CheckReport) error {
	var b strings.Builder
	for _, f := range findings(r) {
		command := "::error"
		if f.warning {
			command = "::warning"
		}
		b.WriteString(command)
		if f.File != "" {
			fmt.Fprintf(&b, " file=%s", githubProperty.Replace(f.File))
			if f.Line > 0 {
				fmt.Fprintf(&b, ",line=%d,col=%d", f.Line, f.Column)
			}
		}
		fmt.Fprintf(&b, "::%s\n", githubText.Replace(f.text()))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
