package caddyapikey

import "sync"

// maxBuffered bounds the bodies that are in memory to be verified or signed, over
// all sites. Who has one kept there has proven a key.
const maxBuffered = 512 << 20

// bodies is the room of the process.
var bodies = bodyRoom{byKey: make(map[string]int64)}

// bodyRoom counts the bytes of signed bodies in memory. A key gets more only
// while it holds no more than would be left to others: alone it gets half, two
// get a third each, and whoever holds nothing gets what is free.
type bodyRoom struct {
	mu    sync.Mutex
	taken int64
	byKey map[string]int64 // of keys that hold some
}

// take takes room for a body of a key.
func (b *bodyRoom) take(key string, size int64) *refusal {
	b.mu.Lock()
	defer b.mu.Unlock()
	free := maxBuffered - b.taken - size
	switch held := b.byKey[key]; {
	case held > 0 && held > free:
		return bodyQuota
	case free < 0:
		return crowded
	}
	b.add(key, size)
	return nil
}

// give gives room back.
func (b *bodyRoom) give(key string, size int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(key, -size)
}

func (b *bodyRoom) add(key string, size int64) {
	b.taken += size
	if b.byKey[key] += size; b.byKey[key] == 0 {
		delete(b.byKey, key)
	}
}
