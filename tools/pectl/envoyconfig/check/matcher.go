package check

import "policyengine.dev/tools/pectl/envoyconfig/message"

// matcherOf is the matcher of an extension that has one, of either of the two kinds
// that there are, which are alike.
func matcherOf(fields *message.Node) *message.Node {
	if n := at(fields, "xds_matcher"); there(n) {
		return n
	}
	return at(fields, "matcher")
}

// decisions are the actions that a matcher (xds.type.matcher.v3.Matcher, or Envoy's
// own of that form) may end with, and whether it always ends with one.
func decisions(matcher *message.Node) (actions []*message.Node, all bool) {
	return decisionsWithin(matcher, 0)
}

func decisionsWithin(matcher *message.Node, depth int) (actions []*message.Node, all bool) {
	if depth > limits.Depth {
		return nil, false
	}
	for name, v := range matcher.Fields {
		switch name {
		case "on_no_match":
			var found []*message.Node
			found, all = onMatch(v, depth)
			actions = append(actions, found...)
		case "matcher_list":
			for _, m := range at(v, "matchers").Items {
				found, _ := onMatch(at(m, "on_match"), depth)
				actions = append(actions, found...)
			}
		case "matcher_tree":
			for _, kind := range []string{"exact_match_map", "prefix_match_map"} {
				for _, m := range at(v, kind, "map").Fields {
					found, _ := onMatch(m, depth)
					actions = append(actions, found...)
				}
			}
			actions = append(actions, customActions(at(v, "custom_match"), depth)...)
		}
	}
	return actions, all
}

// onMatch is what follows a match: an action, or a further matcher.
func onMatch(n *message.Node, depth int) (actions []*message.Node, all bool) {
	if action := at(n, "action"); there(action) {
		return []*message.Node{action}, true // keep_matching is not supported here
	}
	return decisionsWithin(at(n, "matcher"), depth+1)
}

// customActions finds the actions of a matching algorithm that is an extension, by
// the name that they all give to what follows a match.
func customActions(n *message.Node, depth int) (actions []*message.Node) {
	if depth > limits.Depth {
		return nil
	}
	for name, v := range n.Fields {
		if name == "on_match" {
			found, _ := onMatch(v, depth)
			actions = append(actions, found...)
			continue
		}
		actions = append(actions, customActions(v, depth+1)...)
	}
	for _, v := range n.Items {
		actions = append(actions, customActions(v, depth+1)...)
	}
	return actions
}
