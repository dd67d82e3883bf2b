package expr

// The limits on expressions, and on the values that they read. What an expression
// reads is held to MaxString and MaxElements while it is evaluated: a larger value
// is an error, so that a cost that was bounded at load stays bounded.
const (
	// MaxSource is the longest expression, in bytes.
	MaxSource = 4 << 10
	// MaxNesting is how deep an expression may be nested.
	MaxNesting = 32
	// MaxNodes is the largest number of nodes of an expression once its macros
	// are expanded.
	MaxNodes = 2000
	// MaxLoops is how deep the macros that loop (all, exists, exists_one,
	// filter, map) may be nested.
	MaxLoops = 3
	// MaxRegexProgram is the largest compiled regular expression, in
	// instructions of the machine that runs it.
	MaxRegexProgram = 1000
	// MaxString is the longest string that an expression may read, in bytes.
	MaxString = 16 << 10
	// MaxElements is the largest list or map that an expression may read.
	MaxElements = 256
	// MaxCost is the highest cost of one evaluation in cel-go's units, each
	// meant to stand for about 50 ns of work.
	MaxCost = 500_000
	// MaxMeteredCost is the highest cost of one evaluation where no bound is
	// known at load, as where an expression splits a string and works on the
	// parts. It is counted then, which makes a unit cost more.
	MaxMeteredCost = 50_000
)
