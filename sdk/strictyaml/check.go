package strictyaml

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// checker looks at each node once, whatever the number of aliases to it, so
// that it takes linear time over a file that expands exponentially.
type checker struct {
	limits Limits
	found  Diagnostics
	// weights of the nodes seen; that of one that is still being weighed is
	// negative, which is how an alias to something around it shows.
	weights map[*yaml.Node]weight
	tooMuch bool
}

// weight is what a node comes to with its aliases expanded.
type weight struct{ nodes, text, height int }

func (w weight) plus(inner weight) weight {
	return weight{w.nodes + inner.nodes, w.text + inner.text, max(w.height, inner.height+1)}
}

// refused is the weight of what is not looked into, so that sums stay small.
var refused = weight{nodes: 1}

func (c *checker) node(n Node, depth int) weight {
	v := n.yaml
	if v.Kind == yaml.AliasNode {
		return c.alias(n, depth)
	}
	if depth > c.limits.Depth {
		c.tooDeep(n)
		return refused
	}
	c.weights[v] = weight{nodes: -1}
	w := weight{nodes: 1, text: len(v.Value)}
	switch v.Kind {
	case yaml.MappingNode:
		c.tag(n, "!!map")
		w = c.mapping(n, w, depth)
	case yaml.SequenceNode:
		c.tag(n, "!!seq")
		for i, item := range v.Content {
			w = w.plus(c.node(n.step(i, item), depth+1))
		}
	default:
		if problem, remedy := scalarProblem(v); problem != "" {
			c.found.Add(n.Problem(problem, remedy))
		}
	}
	w = c.bounded(n, w)
	c.weights[v] = w
	return w
}

func (c *checker) mapping(n Node, w weight, depth int) weight {
	lines := map[string]int{}
	for i := 0; i+1 < len(n.yaml.Content); i += 2 {
		key, value := n.yaml.Content[i], n.yaml.Content[i+1]
		field := n.stepKey(key, value)
		problem, remedy := "", ""
		switch line, twice := lines[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			field.path = n.path
			problem, remedy = "a key is not a string", "write it out as one"
		case key.ShortTag() == "!!merge":
			problem, remedy = "merge keys are not supported", "write the fields out"
		case !isString(key):
			problem, remedy = "a key is not a string", "put it in quotes"
		case twice:
			problem, remedy = fmt.Sprintf("given twice, first in line %d", line), "keep one of the two"
		default:
			problem, remedy = scalarProblem(key)
			lines[key.Value] = key.Line
		}
		if problem != "" {
			c.found.Add(field.KeyProblem(problem, remedy))
		}
		w = w.plus(weight{nodes: 1, text: len(key.Value)}).plus(c.node(field, depth+1))
	}
	return w
}

func (c *checker) alias(n Node, depth int) weight {
	w, seen := c.weights[n.yaml.Alias]
	switch {
	case !seen: // part of something that was refused
		return refused
	case w.nodes < 0:
		c.found.Add(n.Problem("an alias stands inside the value that it repeats", "write the value out"))
		return refused
	case depth+w.height > c.limits.Depth:
		c.tooDeep(n)
		return refused
	}
	return w
}

func (c *checker) bounded(n Node, w weight) weight {
	if w.nodes <= c.limits.Nodes && w.text <= c.limits.Text {
		return w
	}
	if !c.tooMuch {
		c.tooMuch = true
		c.found.Add(n.Problem("the file holds too much, counting aliases as what they stand for",
			fmt.Sprintf("at most %d values with %d bytes are read", c.limits.Nodes, c.limits.Text)))
	}
	return refused
}

func (c *checker) tooDeep(n Node) {
	c.found.Add(n.Problem("nested too deeply", fmt.Sprintf("at most %d levels are read", c.limits.Depth)))
}

func (c *checker) tag(n Node, want string) {
	if tag := n.yaml.ShortTag(); tag != want {
		c.found.Add(n.Problem("the tag "+tag+" is not known here", "leave it out"))
	}
}
