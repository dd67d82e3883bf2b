// Package strictyaml reads YAML files that people write by hand, and reports
// every problem of a file at once.
//
// [Parse] checks the shape that every file must have: one document, no key
// twice, no merge keys or local tags, bounded in size, depth and in what its
// aliases expand to. What it returns is a [Node], a view of one place in the
// file that knows its path and position:
//
//	root, err := strictyaml.Parse("engine.yaml", src)
//	if err != nil {
//		return err
//	}
//	var config Config
//	var found strictyaml.Diagnostics
//	found.AddError(root, root.Decode(&config)) // unknown fields, wrong types, what is missing
//	if !known(config.Chains[2].Policies[0].Version) {
//		found.Add(root.At("chains", 2, "policies", 0, "version").Problem("no such version", "one of v1.0.0, v2.0.0"))
//	}
//	return found.Err()
//
// prints, sorted by position,
//
//	engine.yaml:3:5: chains[0].polices: unknown field; did you mean "policies"?
//	engine.yaml:31:16: chains[2].policies[0].version: no such version; one of v1.0.0, v2.0.0
//
// A part of the file that is free-form, such as a policy's parameters, is
// kept as a [Node] in the decoded struct; [Node.JSON] makes JSON of it and
// [Node.Pointer] leads back from a JSON pointer to the file.
//
// Messages never quote a scalar's value, since it may be a secret.
package strictyaml
