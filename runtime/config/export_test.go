package config

// Trees is how many files have their YAML in memory.
func (p Positions) Trees() (n int) {
	for _, d := range p.documents {
		d.mu.Lock()
		if d.tree != nil {
			n++
		}
		d.mu.Unlock()
	}
	return n
}
