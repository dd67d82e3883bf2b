package worker

import "time"

// MetricsCount is how many sets of metrics the worker holds.
func (w *Worker) MetricsCount() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.metrics) + len(w.requests)
}

// BudgetErrorOf is what a step is told that was not called since nothing was left.
func BudgetErrorOf(id string, took time.Duration) error { return &budgetError{&step{id: id}, took} }
