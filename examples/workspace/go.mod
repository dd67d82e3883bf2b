module payments.example

go 1.26.0

require (
	policies.example/method-allow v0.0.0
	policyengine.dev v0.0.0
)

require (
	github.com/santhosh-tekuri/jsonschema/v6 v6.0.3 // indirect
	go.uber.org/goleak v1.3.0 // indirect
	go.yaml.in/yaml/v3 v3.0.6 // indirect
	golang.org/x/text v0.44.0 // indirect
)

// A module that has been released needs no replace.
replace policies.example/method-allow => ./modules/method-allow
