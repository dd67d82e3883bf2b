package worker

// MetricsCount is how many sets of metrics the worker holds.
func (w *Worker) MetricsCount() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.metrics) + len(w.requests)
}
