package worker

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// Digest is a hash of what a chain is made from.
type Digest [sha256.Size]byte

// Seal computes the chain's digest, so that it is not computed again for every
// configuration that has the chain. The spec must not be changed afterwards.
func (cs *ChainSpec) Seal() {
	cs.digest = cs.compute()
	cs.sealed = true
}

func (cs *ChainSpec) digestOf() Digest {
	if cs.sealed {
		return cs.digest
	}
	return cs.compute()
}

// compute hashes every field of the chain. A cryptographic hash, since whoever writes a
// chain must not be able to have another one taken for it.
func (cs *ChainSpec) compute() Digest {
	d := digester{sha256.New()}
	d.text(cs.Name)
	d.number(cs.BodyLimit)
	d.flag(cs.NoRequestBody)
	d.flag(cs.NoResponseBody)
	d.flag(cs.Reroute)
	d.number(int64(len(cs.RerouteHeaders)))
	for _, h := range cs.RerouteHeaders {
		d.text(h)
	}
	for _, list := range [][]PolicySpec{cs.Policies, cs.OnReject} {
		d.number(int64(len(list)))
		for i := range list {
			d.policy(&list[i])
		}
	}
	return Digest(d.Sum(nil))
}

// digester hashes fields so that no two different lists of fields look alike.
type digester struct{ hash.Hash }

func (d digester) policy(ps *PolicySpec) {
	for _, s := range []string{ps.ID, ps.Name, ps.Version, ps.When} {
		d.text(s)
	}
	d.number(int64(len(ps.Params)))
	d.Write(ps.Params)
	d.number(int64(ps.Mode))
	d.number(int64(ps.OnError))
	d.number(int64(ps.Timeout))
	d.flag(ps.Required)
	d.flag(ps.Disabled)
	d.flag(ps.Skippable)
}

func (d digester) text(s string) {
	d.number(int64(len(s)))
	d.Write([]byte(s))
}

func (d digester) number(n int64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(n))
	d.Write(b[:])
}

func (d digester) flag(b bool) {
	if b {
		d.number(1)
		return
	}
	d.number(0)
}
