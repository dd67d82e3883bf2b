package admin

// CheckReport is what `policy-engine check --json` prints. Fields are added, never renamed.
type CheckReport struct {
	// Valid says that the engine would accept the configuration.
	Valid bool `json:"valid"`
	// Started says that the policies were started, and that each of them could.
	Started bool `json:"started"`
	// Chains and Routes are how many there are. They are 0 if engine.yaml is not valid.
	Chains int `json:"chains"`
	Routes int `json:"routes"`
	// Problems keep the engine from accepting the configuration; Warnings do not.
	Problems []ProblemDump `json:"problems"`
	Warnings []ProblemDump `json:"warnings"`
}
