module policies.example/method-allow

go 1.26.0

require policyengine.dev v0.0.0
