package kernel

import "policyengine.dev/runtime/worker"

// Overloaded refuses a part for want of memory.
func (e *Exchange) Overloaded(d Direction) Next {
	e.kernel.options.Memory.Refuse()
	if d == Response {
		return e.Refuse(worker.ResponseOverloaded, errNoMemory)
	}
	return e.Refuse(worker.Overloaded, errNoMemory)
}

// Keep leaves n bytes, which the carrier has taken from the memory account, to the
// exchange: policies may look at them until it is over.
func (e *Exchange) Keep(n int64) { e.kept += n }

// takeKept takes n bytes until the exchange is over. It reports false if there is no room
// for them.
func (e *Exchange) takeKept(n int64) bool {
	if !e.kernel.options.Memory.Take(n) {
		return false
	}
	e.kept += n
	return true
}

// addKept takes n bytes that are in memory already.
func (e *Exchange) addKept(n int64) {
	e.kernel.options.Memory.Add(n)
	e.kept += n
}

// takeHeld takes what chunk steps hold back now, and gives back what they no longer hold.
// It reports false if there is no room for it.
func (e *Exchange) takeHeld() bool {
	if !e.needs.HoldsRequestChunks && !e.needs.HoldsResponseChunks {
		return true
	}
	now := e.executor.Held()
	if now > e.held {
		if !e.kernel.options.Memory.Take(now - e.held) {
			return false
		}
	} else {
		e.kernel.options.Memory.Give(e.held - now)
	}
	e.held = now
	return true
}

// GiveBack returns to the memory account what the exchange has taken. It is called once
// nothing can look at the bodies any more: after [Exchange.End], and after the call of a
// step that was abandoned has returned.
func (e *Exchange) GiveBack() {
	e.kernel.options.Memory.Give(e.kept + e.held)
	e.kept, e.held = 0, 0
}
