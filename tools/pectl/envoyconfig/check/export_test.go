package check

// FormatCommands are the commands of format strings, and whether they need
// parameters.
func FormatCommands() map[string]bool {
	all := map[string]bool{}
	for name, p := range commands {
		all[name] = p == needsParameters
	}
	return all
}

// Format is checkFormat.
var Format = checkFormat
