package extproc

import "policyengine.dev/runtime/worker"

// Resume implements kernel.Carrier: it continues where a policy has held up the goroutine
// that had the stream.
func (st *stream) Resume(outcome worker.Outcome) {
	if !st.resumed {
		st.resumed = true
		st.service.kernel.Options().Streams.TakenOver.Add(1)
	}
	if st.resume(outcome) == elsewhere {
		return
	}
	st.exchange.End()
	st.sideDone()
	st.done <- struct{}{}
}

// resume answers the message in hand and handles those that follow.
func (st *stream) resume(outcome worker.Outcome) (f flow) {
	defer func() {
		if p := recover(); p != nil {
			st.service.panicked(p)
			st.exchange.Abandon()
			st.err = errInternal
			f = over
		}
	}()
	f = st.after(st.exchange.GoOn(outcome))
	st.count(f)
	if f == over && st.err == nil {
		f = st.drain()
	}
	if f == onward {
		f = st.loop()
	}
	return f
}

// sideDone is called twice on a stream that was resumed elsewhere: when the stream is over, and
// when the abandoned call has returned. The second call gives back what the bodies have
// taken, since the abandoned call may have used them until then.
func (st *stream) sideDone() {
	if st.oneDone.Swap(true) {
		st.giveBack()
	}
}

// giveBack returns to the memory account all that the stream has taken.
func (st *stream) giveBack() {
	st.reader.give()
	st.exchange.GiveBack()
}
