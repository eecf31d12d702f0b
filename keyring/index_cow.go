package keyring

import "slices"

// cow is a list of parts that the writer and the published snapshots share.
// The writer changes a part only after it has made a copy of its own, and only
// until the next freeze; what a snapshot holds never changes. So a small change
// costs the copy of the list and of the parts it touches, and a large one
// copies each part once.
type cow[P any] struct {
	parts []*P
	owned bool   // the list is the writer's
	mine  []bool // the parts that are the writer's
	dirty []int  // their numbers
	clone func(*P) *P
	seal  func(*P) // called before a part is shared; nil for nothing to do
}

// writable returns part i for changing.
func (c *cow[P]) writable(i int) *P {
	c.own()
	if !c.mine[i] {
		c.parts[i] = c.clone(c.parts[i])
		c.mark(i)
	}
	return c.parts[i]
}

// add appends a part that nobody else holds.
func (c *cow[P]) add(p *P) {
	c.own()
	c.parts = append(c.parts, p)
	c.mine = append(c.mine, false)
	c.mark(len(c.parts) - 1)
}

// reset replaces all parts by new ones that nobody else holds.
func (c *cow[P]) reset(parts []*P) {
	c.parts, c.owned = parts, true
	c.mine, c.dirty = make([]bool, len(parts)), c.dirty[:0]
	for i := range parts {
		c.mark(i)
	}
}

// freeze returns the parts for a snapshot.
func (c *cow[P]) freeze() []*P {
	for _, i := range c.dirty {
		if c.seal != nil {
			c.seal(c.parts[i])
		}
		c.mine[i] = false
	}
	if cap(c.dirty) > 1024 {
		c.dirty = nil
	}
	c.dirty, c.owned = c.dirty[:0], false
	return c.parts[:len(c.parts):len(c.parts)]
}

func (c *cow[P]) own() {
	if !c.owned {
		c.parts, c.owned = slices.Clone(c.parts), true
	}
}

func (c *cow[P]) mark(i int) {
	c.mine[i] = true
	c.dirty = append(c.dirty, i)
}

func clonePart[P any](p *P) *P {
	c := *p
	return &c
}
