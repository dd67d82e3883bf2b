package worker

import "time"

// MetricsCount is how many sets of metrics the worker holds.
func (w *Worker) MetricsCount() int {
	s := w.Acquire()
	if s == nil {
		return 0
	}
	defer s.Release()
	n := s.RouteCount()
	for _, c := range s.chains {
		n += len(c.steps)
	}
	return n
}

// BudgetErrorOf is what a step is told that was not called since nothing was left.
func BudgetErrorOf(id string, took time.Duration) error { return &budgetError{&step{id: id}, took} }

// Position is the first step of a call, counted among all steps of its phase.
func (c *Call) Position() int { return c.next }
