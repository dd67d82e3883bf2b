package worker

// Detail says how far apart the steps of chains are counted. The zero value is [StepDetail].
type Detail uint8

const (
	// StepDetail counts each step by itself.
	StepDetail Detail = iota
	// ChainDetail counts the steps of one chain together that have the same policy, version and mode.
	ChainDetail
	// RouteDetail counts the steps of all chains together that have the same policy, version and mode. What is left
	// apart are requests, by route.
	RouteDetail
)
